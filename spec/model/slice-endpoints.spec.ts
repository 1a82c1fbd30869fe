import { expect } from 'chai';
import fc from 'fast-check';
import type { SliceEndpoint } from '../../lib/model/objects.js';
import { SliceEndpoints } from '../../lib/model/slice-endpoints.js';

const names = fc.array(fc.constantFrom('', 'eu-1', 'eu-2', 'node-a'), { maxLength: 3 });
const endpoint: fc.Arbitrary<SliceEndpoint> = fc.record({
  address: fc.oneof(fc.ipV4(), fc.ipV6()),
  ready: fc.boolean(),
  serving: fc.boolean(),
  terminating: fc.boolean(),
  nodeName: fc.constantFrom(undefined, 'node-a', 'node-b'),
  zoneHints: names,
  nodeHints: names,
});

describe('SliceEndpoints', () => {
  it('are what was packed, in its order, however often they are read', () => {
    fc.assert(
      fc.property(fc.array(endpoint), (endpoints) => {
        const packed = SliceEndpoints.of(endpoints);
        expect(packed.length).to.equal(endpoints.length);
        expect([...packed]).to.deep.equal(endpoints);
        expect([...packed]).to.deep.equal(endpoints);
      }),
    );
  });

  it('are equal where their endpoints are, and frozen', () => {
    const one: SliceEndpoint = {
      address: '10.0.0.1',
      ready: true,
      serving: true,
      terminating: false,
      nodeName: 'node-a',
      zoneHints: [],
      nodeHints: [],
    };
    const same = SliceEndpoints.of([one]);
    expect(SliceEndpoints.of([{ ...one }])).to.deep.equal(same);
    for (const other of [{ address: '10.0.0.2' }, { ready: false }, { nodeName: undefined }, { zoneHints: [''] }]) {
      expect(SliceEndpoints.of([{ ...one, ...other }])).not.to.deep.equal(same);
    }
    expect(same).to.be.frozen;
  });
});
