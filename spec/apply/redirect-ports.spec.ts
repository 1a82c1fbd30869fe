import { expect } from 'chai';
import { RedirectPorts } from '../../lib/apply/redirect-ports.js';

describe('RedirectPorts', () => {
  const range = { first: 20_000, last: 20_002 };

  it('hands out the lowest free port, each family and protocol on its own', () => {
    const ports = new RedirectPorts(range);
    expect([ports.take('IPv4/TCP'), ports.take('IPv4/TCP'), ports.take('IPv4/UDP')]).to.deep.equal([
      20_000, 20_001, 20_000,
    ]);
  });

  it('has none left at the end of the range, and one again after a release', () => {
    const ports = new RedirectPorts(range);
    for (let at = 0; at < 3; at++) ports.take('IPv4/TCP');
    expect(ports.take('IPv4/TCP')).to.equal(undefined);
    ports.release('IPv4/TCP', 20_001);
    expect(ports.take('IPv4/TCP')).to.equal(20_001);
  });

  it('looks above a port that turned out to be in use', () => {
    const ports = new RedirectPorts(range);
    const first = ports.take('IPv4/TCP') ?? 0;
    ports.release('IPv4/TCP', first);
    expect(ports.take('IPv4/TCP', first)).to.equal(20_001);
    expect(ports.take('IPv4/TCP')).to.equal(20_000);
  });

  it('takes a port by name only where it is free and in the range (Y7)', () => {
    const ports = new RedirectPorts(range);
    expect([
      ports.takeExactly('IPv4/TCP', 20_000),
      ports.takeExactly('IPv4/TCP', 20_000),
      ports.takeExactly('IPv4/TCP', 80),
    ]).to.deep.equal([true, false, false]);
    expect(ports.take('IPv4/TCP')).to.equal(20_001);
  });
});
