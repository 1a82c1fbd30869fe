import { expect } from 'chai';
import { NodeAddresses, type NodeAddressesOptions } from '../../lib/apply/node-addresses.js';
import type { Node } from '../../lib/model/objects.js';
import { until } from '../support/until.js';

const LOCAL = ['127.0.0.1', '::1', '192.168.77.1', '10.244.1.1', 'fd00:77::1', 'fe80::1'];

function nodeWith(...internalIPs: string[]): Node {
  return { name: 'node-a', zone: undefined, internalIPs, podCIDRs: [], eligible: true };
}

function setUp(nodePortAddresses: readonly string[], over: Partial<NodeAddressesOptions> = {}) {
  const world = { local: LOCAL as readonly string[], node: undefined as Node | undefined, changes: 0 };
  const addresses = new NodeAddresses({
    nodePortAddresses,
    bindAddress: '0.0.0.0',
    node: () => world.node,
    onChange: () => world.changes++,
    localAddresses: () => world.local,
    ...over,
  });
  return { world, addresses };
}

describe('addresses of node ports (E11)', () => {
  const cases: readonly [string, readonly string[], readonly string[], readonly string[]][] = [
    ['all of the node, where nothing is asked for', [], ['0.0.0.0'], ['::']],
    ['those in the blocks', ['192.168.0.0/16'], ['192.168.77.1'], []],
    ['those of both families in the blocks', ['192.168.0.0/16', 'fd00::/8'], ['192.168.77.1'], ['fd00:77::1']],
    ['loopback where a block has it', ['127.0.0.0/8', '::1/128'], ['127.0.0.1'], ['::1']],
    ['all of a family whose block has every address', ['0.0.0.0/0'], ['0.0.0.0'], []],
    ['one address, where two blocks have it', ['192.168.77.0/24', '192.168.77.1/32'], ['192.168.77.1'], []],
    ['none that needs its interface to be named', ['fe80::/10'], [], []],
  ];
  for (const [title, asked, four, six] of cases) {
    it(`are ${title}`, () => {
      const { addresses } = setUp(asked);
      expect([addresses.nodePortHosts('IPv4'), addresses.nodePortHosts('IPv6')]).to.deep.equal([four, six]);
    });
  }

  it("are the Node's InternalIPs that it really has, for primary; none before the Node is known", () => {
    const { world, addresses } = setUp(['primary']);
    expect(addresses.nodePortHosts('IPv4')).to.deep.equal([]);
    world.node = nodeWith('192.168.77.1', 'fd00:77::1', '192.0.2.99');
    expect(addresses.nodePortHosts('IPv4')).to.deep.equal(['192.168.77.1']);
    expect(addresses.nodePortHosts('IPv6')).to.deep.equal(['fd00:77::1']);
  });

  it('follow the node when it gains and loses an address', () => {
    const { world, addresses } = setUp(['192.168.0.0/16']);
    world.local = [...LOCAL, '192.168.77.10'];
    addresses.refresh();
    expect(addresses.nodePortHosts('IPv4')).to.deep.equal(['192.168.77.1', '192.168.77.10']);
    world.local = ['127.0.0.1', '192.168.77.10'];
    addresses.refresh();
    expect(addresses.nodePortHosts('IPv4')).to.deep.equal(['192.168.77.10']);
    expect(world.changes).to.equal(2);
  });

  it('are looked at by themselves while it runs', async () => {
    const { world, addresses } = setUp(['192.168.0.0/16'], { pollMs: 5 });
    addresses.start();
    world.local = [...LOCAL, '192.168.77.10'];
    await until('the change', () => world.changes === 1);
    addresses.stop();
  });

  it('are no news where an address comes that nothing of ours uses: a pod starts', () => {
    for (const asked of [[], ['192.168.0.0/16']]) {
      const { world, addresses } = setUp(asked);
      world.local = ['127.0.0.1', '::1', '192.168.77.1', '10.244.1.1', '10.244.9.9', 'fd00:77::1', 'fe80::2'];
      addresses.refresh();
      expect(world.changes).to.equal(0);
    }
  });
});

describe('the address of redirect listeners', () => {
  it('is the one asked for, in its family', () => {
    const { addresses } = setUp([], { bindAddress: '10.244.1.1' });
    expect(addresses.redirectHost('IPv4')).to.equal('10.244.1.1');
    expect(addresses.redirectHost('IPv6')).to.equal('fd00:77::1');
  });

  it("is the Node's, else the first that is not loopback, else loopback", () => {
    const { world, addresses } = setUp([]);
    expect(addresses.redirectHost('IPv4')).to.equal('192.168.77.1');
    world.node = nodeWith('192.0.2.99', '10.244.1.1');
    expect(addresses.redirectHost('IPv4')).to.equal('10.244.1.1');
    world.local = ['127.0.0.1'];
    addresses.refresh();
    expect(addresses.redirectHost('IPv4')).to.equal('127.0.0.1');
    expect(addresses.redirectHost('IPv6')).to.equal(undefined);
  });

  it('stays while the node has it, though another one comes before it: connections depend on it', () => {
    const { world, addresses } = setUp([]);
    expect(addresses.redirectHost('IPv4')).to.equal('192.168.77.1');
    world.local = ['127.0.0.1', '10.0.0.5', '192.168.77.1'];
    addresses.refresh();
    expect(addresses.redirectHost('IPv4')).to.equal('192.168.77.1');
    expect(world.changes).to.equal(1); // IPv6 went.
    world.local = ['127.0.0.1', '10.0.0.5'];
    addresses.refresh();
    expect(addresses.redirectHost('IPv4')).to.equal('10.0.0.5');
    expect(world.changes).to.equal(2);
  });
});
