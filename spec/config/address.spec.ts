import { expect } from 'chai';
import { hostPort, parseIp, scopeOf, unmapIp } from '../../lib/config/address.js';

describe('addresses', () => {
  for (const [text, canonical] of [
    ['10.96.0.1', '10.96.0.1'],
    ['FD00:0:0::1', 'fd00::1'],
    ['::FFFF:10.0.0.1', '::ffff:10.0.0.1'],
    ['::ffff:a00:1', '::ffff:10.0.0.1'],
    ['010.0.0.1', undefined],
    ['0x7f.1', undefined],
    ['1.2.3', undefined],
    ['fe80::1%eth0', undefined],
    [' 10.0.0.1', undefined],
    ['10.0.0.1; reboot', undefined],
    ['', undefined],
  ] as const) {
    it(`reads "${text}" as ${canonical}`, () => {
      expect(parseIp(text)).to.equal(canonical);
    });
  }

  it('counts an IPv4-mapped client as IPv4', () => {
    expect(unmapIp('::ffff:10.0.0.1')).to.equal('10.0.0.1');
    expect(unmapIp('fd00::1')).to.equal('fd00::1');
  });

  it('brackets IPv6 before a port', () => {
    expect(hostPort('fd00::1', 80)).to.equal('[fd00::1]:80');
    expect(hostPort('10.0.0.1', 80)).to.equal('10.0.0.1:80');
  });

  for (const [ip, scope] of [
    ['0.0.0.0', 'unspecified'],
    ['127.8.9.1', 'loopback'],
    ['169.254.169.254', 'link-local'],
    ['224.0.0.1', 'multicast'],
    ['239.255.255.255', 'multicast'],
    ['255.255.255.255', 'broadcast'],
    ['10.1.2.3', 'unicast'],
    ['::', 'unspecified'],
    ['::1', 'loopback'],
    ['::ffff:127.0.0.1', 'loopback'],
    ['fe80::1', 'link-local'],
    ['febf::1', 'link-local'],
    ['fec0::1', 'unicast'],
    ['ff02::1', 'multicast'],
    ['fd00::1', 'unicast'],
  ] as const) {
    it(`knows ${ip} as ${scope}`, () => {
      expect(scopeOf(ip)).to.equal(scope);
    });
  }
});
