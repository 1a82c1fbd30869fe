import { expect } from 'chai';
import { endpointsOf } from '../../lib/model/endpoints.js';
import type { EndpointSlice } from '../../lib/model/objects.js';
import { redisSlice } from '../support/objects.js';

const PORT = { name: 'redis', protocol: 'TCP' } as const;

function addresses(slices: readonly EndpointSlice[], family: 'IPv4' | 'IPv6' = 'IPv4'): readonly string[] {
  return endpointsOf(slices, PORT, family, 'node-a')
    .map(({ address, port }) => `${address}:${port}`)
    .sort();
}

describe('endpoints of a Service port', () => {
  const two = { key: 'work/saythx-redis-2' };

  it('merges all slices of the Service (S3)', () => {
    expect(addresses([redisSlice(['10.244.1.11']), redisSlice(['10.244.2.12'], two)])).to.deep.equal([
      '10.244.1.11:6379',
      '10.244.2.12:6379',
    ]);
  });

  it('takes an address and port that stands in two slices once (S3)', () => {
    expect(addresses([redisSlice(['10.244.1.11']), redisSlice(['10.244.1.11'], two)])).to.deep.equal([
      '10.244.1.11:6379',
    ]);
  });

  it('lets the local one of two equal endpoints win, whatever their order (S3)', () => {
    const local = redisSlice([{ address: '10.244.1.11', nodeName: 'node-a', ready: false }]);
    const remote = redisSlice([{ address: '10.244.1.11', nodeName: 'node-b' }], two);
    for (const slices of [
      [local, remote],
      [remote, local],
    ]) {
      const [endpoint] = endpointsOf(slices, PORT, 'IPv4', 'node-a');
      expect(endpoint).to.include({ local: true, ready: false });
    }
  });

  it('takes the more usable of two equal endpoints, so that one on the move stays up (S5)', () => {
    const leaving = redisSlice([{ address: '10.244.1.11', ready: false }]);
    const arrived = redisSlice(['10.244.1.11'], two);
    for (const slices of [
      [leaving, arrived],
      [arrived, leaving],
    ]) {
      expect(endpointsOf(slices, PORT, 'IPv4', 'node-b')[0]).to.include({ ready: true });
    }
  });

  it('matches ports by name and protocol, and uses the number of the slice (S3)', () => {
    const ports = [
      { name: 'metrics', protocol: 'TCP', port: 9121 },
      { name: 'redis', protocol: 'UDP', port: 5353 },
      { name: 'redis', protocol: 'TCP', port: 16379 },
    ] as const;
    expect(addresses([redisSlice(['10.244.1.11'], { ports })])).to.deep.equal(['10.244.1.11:16379']);
  });

  it('keeps the families apart (S2)', () => {
    const slices = [redisSlice(['10.244.1.11']), redisSlice(['fd00::11'], { ...two, family: 'IPv6' })];
    expect(addresses(slices, 'IPv4')).to.deep.equal(['10.244.1.11:6379']);
    expect(addresses(slices, 'IPv6')).to.deep.equal(['fd00::11:6379']);
  });

  it('knows which endpoints are on this node', () => {
    const slices = [redisSlice(['10.244.1.11', { address: '10.244.2.12', nodeName: 'node-b' }])];
    const local = endpointsOf(slices, PORT, 'IPv4', 'node-b').filter((endpoint) => endpoint.local);
    expect(local.map(({ address }) => address)).to.deep.equal(['10.244.2.12']);
  });
});
