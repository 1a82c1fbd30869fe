import { expect } from 'chai';
import fc from 'fast-check';
import { parseIp } from '../../lib/config/address.js';
import {
  type Backend,
  backendKey,
  countBackends,
  keysOf,
  packBackends,
  unpackBackends,
} from '../../lib/model/backend.js';

const backend: fc.Arbitrary<Backend> = fc.record({
  host: fc.oneof(fc.ipV4(), fc.ipV6()).map((text) => parseIp(text) ?? '::1'),
  port: fc.integer({ min: 1, max: 65_535 }),
});
const set = fc.uniqueArray(backend, { selector: backendKey, maxLength: 20 });

describe('backends as one text', () => {
  it('is what was packed, in its order', () => {
    fc.assert(
      fc.property(set, (backends) => {
        const packed = packBackends(backends);
        expect(unpackBackends(packed)).to.deep.equal(backends);
        expect(keysOf(packed)).to.deep.equal(backends.map(backendKey));
        expect(countBackends(packed)).to.equal(backends.length);
      }),
    );
  });

  it('has each backend once', () => {
    const one = { host: '10.0.0.5', port: 80 };
    expect(packBackends([one, { host: 'fd00::5', port: 80 }, one])).to.equal('10.0.0.5:80 [fd00::5]:80');
  });

  it('takes what is packed as it is', () => {
    expect(packBackends('10.0.0.5:80')).to.equal('10.0.0.5:80');
    expect(packBackends([])).to.equal('');
    expect(unpackBackends('')).to.deep.equal([]);
  });
});
