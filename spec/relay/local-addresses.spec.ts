import type { networkInterfaces } from 'node:os';
import { expect } from 'chai';
import { createPortableEngine } from '../../lib/relay/portable/engine.js';
import { LocalAddresses } from '../../lib/relay/portable/local-addresses.js';
import { UdpClient } from '../support/datagrams.js';
import { until } from '../support/until.js';
import { withRig } from './engine-suite/rig.js';

type Interfaces = ReturnType<typeof networkInterfaces>;

function ipv4(...addresses: readonly string[]): Interfaces {
  return {
    lo: addresses.map((address) => ({
      address,
      netmask: '255.0.0.0',
      family: 'IPv4',
      mac: '00:00:00:00:00:00',
      internal: true,
      cidr: `${address}/8`,
    })),
  };
}

async function outcome(host: string, port: number): Promise<string> {
  const client = await UdpClient.dial(host, port);
  try {
    client.send('hello');
    await until('an answer or a refusal', () => client.received.length + client.errors.length > 0);
    return client.texts[0] ?? client.errors[0] ?? '?';
  } finally {
    client.close();
  }
}

describe('portable UDP listener on all addresses (U1)', () => {
  it('follows the addresses of the machine: new ones answer from themselves, gone ones are refused and their flows end', async () => {
    let interfaces = ipv4('127.0.0.1');
    const localAddresses = new LocalAddresses(() => interfaces);
    await withRig(
      (options, events) => createPortableEngine(options, events, { localAddresses }),
      {},
      async (rig) => {
        const backend = await rig.udpBackend();
        const listener = await rig.open('UDP', [backend], { host: '0.0.0.0' });
        expect(await outcome('127.0.0.1', listener.port)).to.equal('hello');
        expect(await outcome('127.0.0.2', listener.port)).to.equal('ECONNREFUSED');

        interfaces = ipv4('127.0.0.1', '127.0.0.2');
        localAddresses.poke();
        expect(await outcome('127.0.0.2', listener.port)).to.equal('hello');
        expect((await rig.statsOf(listener)).active).to.equal(2);

        interfaces = ipv4('127.0.0.2');
        localAddresses.poke();
        expect(await outcome('127.0.0.1', listener.port)).to.equal('ECONNREFUSED');
        expect(await outcome('127.0.0.2', listener.port)).to.equal('hello');
        expect((await rig.statsOf(listener)).active).to.equal(2);
      },
    );
  });

  it('says once that a new address cannot be listened on, and takes it when it can', async () => {
    let interfaces = ipv4('127.0.0.1');
    const localAddresses = new LocalAddresses(() => interfaces);
    await withRig(
      (options, events) => createPortableEngine(options, events, { localAddresses }),
      {},
      async (rig) => {
        const backend = await rig.udpBackend();
        const listener = await rig.open('UDP', [backend], { host: '0.0.0.0' });
        const thief = await rig.udpBackend({ host: '127.0.0.3', port: listener.port, answer: () => 'thief' });
        // 127.0.0.3 is taken; 203.0.113.77 (RFC 5737) is listed and not there, as an IPv6 address is while it is tentative.
        interfaces = ipv4('127.0.0.1', '127.0.0.3', '203.0.113.77');
        for (let look = 0; look < 3; look++) localAddresses.poke();
        expect(rig.heard.logs.map(({ fields }) => fields['address'])).to.deep.equal(['127.0.0.3']);
        await thief.close();
        localAddresses.poke();
        expect(await outcome('127.0.0.3', listener.port)).to.equal('hello');
      },
    );
  });

  it('chooses another port where the one the kernel chose is taken on another address', async () => {
    const localAddresses = new LocalAddresses(() => ipv4('127.0.0.1', '127.0.0.2'));
    await withRig(
      (options, events) => createPortableEngine(options, events, { localAddresses }),
      {},
      async (rig) => {
        const backend = await rig.udpBackend();
        const ports = new Set<number>();
        for (let count = 0; count < 10; count++) {
          const { port } = await rig.open('UDP', [backend], { host: '0.0.0.0' });
          ports.add(port);
          expect(await outcome('127.0.0.1', port)).to.equal('hello');
          expect(await outcome('127.0.0.2', port)).to.equal('hello');
        }
        expect(ports.size).to.equal(10);
      },
    );
  });
});

describe('LocalAddresses', () => {
  it('lists what the machine has, loopback included', () => {
    const addresses = new LocalAddresses().of('IPv4');
    expect(addresses).to.include('127.0.0.1');
    expect(addresses.every((address) => !address.includes(':'))).to.equal(true);
  });

  it('names the interface of a link-local address', () => {
    const read = () => ({
      eth0: [
        {
          address: 'fe80::1',
          netmask: 'ffff:ffff:ffff:ffff::',
          family: 'IPv6' as const,
          mac: '',
          internal: false,
          cidr: null,
          scopeid: 2,
        },
        {
          address: '2001:db8::1',
          netmask: 'ffff:ffff:ffff:ffff::',
          family: 'IPv6' as const,
          mac: '',
          internal: false,
          cidr: null,
          scopeid: 0,
        },
      ],
    });
    expect(new LocalAddresses(read).of('IPv6')).to.deep.equal(['fe80::1%eth0', '2001:db8::1']);
  });
});
