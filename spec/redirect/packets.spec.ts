/** Owns the proof that packets go where the rules say: from a pod, from the node itself and from outside. */
import { expect } from 'chai';
import { IP_FAMILIES, type Ip } from '../../lib/config/address.js';
import type { Protocol } from '../../lib/model/objects.js';
import { IptablesRedirector } from '../../lib/redirect/iptables/iptables.js';
import { frontendKey, type Redirect, type RedirectAction } from '../../lib/redirect/redirector.js';
import type { Child } from '../support/lab/child.js';
import { createLab, type Lab } from '../support/lab/lab.js';
import type { Namespace } from '../support/lab/namespace.js';
import { requires } from '../support/requires.js';
import { until } from '../support/until.js';
import { execIn, keptLog, OWNER } from './support.js';

/** Load-balancer IPs. */
const BALANCED = { IPv4: '203.0.113.', IPv6: '2001:db8:1::' };
const PODS = { IPv4: '10.244.0.0/16', IPv6: 'fd00:10:244::/56' };
const DROP: RedirectAction = { kind: 'drop' };
const SERVICE = { IPv4: '10.96.0.', IPv6: 'fd00:10:96::' };
const REFUSAL: RedirectAction = { kind: 'reject' };

for (const backend of ['nf_tables', 'legacy'] as const) {
  for (const family of IP_FAMILIES) {
    describe(`redirected packets (iptables, ${backend}, ${family})`, () => {
      let lab: Lab;
      let redirector: IptablesRedirector;
      let host: Ip;
      const service = (n: number) => `${SERVICE[family]}${n}`;
      const listener = (port: number): RedirectAction => ({ kind: 'listener', host, port });
      const redirect = (address: Ip, port: number, protocol: Protocol, action: RedirectAction): Redirect => ({
        frontend: { address, port, protocol },
        action,
        owner: OWNER,
      });
      const both = (address: Ip, port: number, action: RedirectAction) =>
        (['TCP', 'UDP'] as const).map((protocol) => redirect(address, port, protocol, action));
      const places = () => [lab.ns.pod1, lab.ns.node, lab.ns.ext];
      const askAll = (address: Ip, port: number, protocol: Protocol) =>
        Promise.all(places().map((place) => place.ask(address, port, protocol))).then((all) => all.flat());

      /** The kernel's own limit is six ICMP errors to one client at once, then one a second; redirects count, too. */
      const errorsPerSecond = (limit: 'no limit' | 'default') => {
        const pauseMs = limit === 'default' ? 1_000 : 0;
        return lab.ns.node.sysctl({ 'net.ipv4.icmp_ratelimit': pauseMs, 'net.ipv6.icmp.ratelimit': pauseMs });
      };
      /** A sender on the node is told so by send(), and by ICMP only afterwards. */
      const refusals = (protocol: Protocol) =>
        protocol === 'TCP' ? Array(3).fill('ECONNREFUSED') : ['ECONNREFUSED', 'EPERM', 'ECONNREFUSED'];

      const nodeAddresses = () => [...Object.values(lab.ns.node.address), ...Object.values(lab.gateway)];
      const balanced = (n: number) => `${BALANCED[family]}${n}`;
      const only = (space: Namespace) => `${space.address[family]}/${family === 'IPv4' ? 32 : 128}`;

      /** Frontends that tell clients by where they come from: see the table of who reaches them. */
      const bySource = (): readonly Redirect[] => {
        const [outer, inner] = [listener(30_002), listener(30_001)];
        const { ext, pod1 } = lab.ns;
        const more = (n: number, action: RedirectAction, fields: Pick<Redirect, 'insideAction' | 'allowed'>) =>
          both(balanced(n), 80, action).map((one) => ({ ...one, ...fields }));
        return [
          ...more(10, DROP, { insideAction: inner }),
          ...more(11, outer, { insideAction: inner }),
          ...more(12, outer, { allowed: { cidrs: [only(ext)], node: true } }),
          ...more(13, outer, { allowed: { cidrs: [PODS[family]], node: false } }),
          ...more(14, outer, { insideAction: inner, allowed: { cidrs: [only(ext), only(pod1)], node: false } }),
          ...more(15, DROP, { insideAction: inner, allowed: { cidrs: [only(ext), only(pod1)], node: true } }),
          ...both(family === 'IPv4' ? '0.0.0.0' : '::', 31_000, DROP),
          ...both(host, 31_001, DROP),
        ];
      };

      before(async function () {
        const tool = `${family === 'IPv4' ? 'iptables' : 'ip6tables'}${backend === 'legacy' ? '-legacy' : ''}`;
        requires(this, 'root', 'ip', 'setpriv', 'ipv6', 'conntrack', tool);
        lab = await createLab();
        await errorsPerSecond('no limit');
        host = lab.ns.node.address[family];
        for (const port of [30_001, 30_002, 30_004]) await lab.ns.node.serve({ port, name: `listener ${port}` });
        await lab.ns.node.serve({ port: 30_003, name: 'somebody else' });
        await lab.ns.node.serve({ port: 31_000, name: 'node port', hosts: nodeAddresses() });
        await lab.ns.node.serve({ port: 31_001, name: 'node port', hosts: nodeAddresses() });
        redirector = new IptablesRedirector({
          log: keptLog(),
          exec: execIn(lab.ns.node, backend),
          insideCidrs: Object.values(PODS),
          localAddresses: nodeAddresses,
        });
        await redirector.start();
        const set = [
          ...both(service(10), 80, listener(30_001)),
          ...both(service(11), 80, listener(30_002)),
          ...both(service(12), 80, listener(30_004)),
          ...both(service(20), 80, REFUSAL),
          ...both(service(21), 80, { kind: 'drop' }),
          // An externalIP may be an address of the node itself.
          ...both(host, 8_080, listener(30_001)),
          ...both(host, 8_081, REFUSAL),
          ...bySource(),
        ];
        await redirector.apply({ set, remove: [] });
      });

      after(() => lab?.close());

      for (const protocol of ['TCP', 'UDP'] as const) {
        it(`reach the listener from a pod, the node and outside (${protocol}, R3)`, async () => {
          expect(await askAll(service(10), 80, protocol)).to.deep.equal(Array(3).fill('listener 30001'));
        });

        it(`reach the listener at a frontend that is the node's own address (${protocol}, R3)`, async () => {
          expect(await askAll(host, 8_080, protocol)).to.deep.equal(Array(3).fill('listener 30001'));
        });

        it(`are refused at the redirect port itself, from everywhere (${protocol}, R4)`, async () => {
          for (const port of [30_001, 30_002, 30_004]) {
            expect(await askAll(host, port, protocol), `${port}`).to.deep.equal(Array(3).fill('ECONNREFUSED'));
          }
        });

        it(`reach another program's port between redirect ports (${protocol}, R4)`, async () => {
          expect(await askAll(host, 30_003, protocol)).to.deep.equal(Array(3).fill('somebody else'));
        });

        it(`are refused at once, from everywhere, where the frontend is to be refused (${protocol}, E5)`, async () => {
          const all = await Promise.all(
            places().map((place) => place.dial([{ host: service(20), port: 80, protocol }])),
          );
          expect(all.flat(2).map(({ error }) => error)).to.deep.equal(refusals(protocol));
          expect(Math.max(...all.flat(2).map(({ elapsedMs }) => elapsedMs))).to.be.lessThan(500);
        });

        it(`are refused at a frontend that is the node's own address (${protocol}, E5)`, async () => {
          expect(await askAll(host, 8_081, protocol)).to.deep.equal(Array(3).fill('ECONNREFUSED'));
        });

        it(`meet silence where the frontend is to drop (${protocol}, E6)`, async () => {
          const dial = { host: service(21), port: 80, protocol, timeoutMs: 200 };
          const all = await Promise.all(places().map((place) => place.dial([dial])));
          const silence = protocol === 'TCP' ? 'TIMEOUT' : 'EPERM';
          expect(all.flat(2).map(({ error }) => error)).to.deep.equal(['TIMEOUT', silence, 'TIMEOUT']);
        });

        it(`change from listener to refusal and back (${protocol})`, async () => {
          const change = (action: RedirectAction) =>
            redirector.apply({ set: [redirect(service(11), 80, protocol, action)], remove: [] });
          await change(REFUSAL);
          expect(await askAll(service(11), 80, protocol)).to.deep.equal(refusals(protocol));
          await change(listener(30_002));
          expect(await askAll(service(11), 80, protocol)).to.deep.equal(Array(3).fill('listener 30002'));
        });
      }

      it('are refused without a wait in a burst of connections, where ICMP errors would run dry (E5)', async () => {
        await errorsPerSecond('default');
        const [answers = []] = await lab.ns.pod1.dial([{ host: service(20), port: 80, count: 40 }]);
        await errorsPerSecond('no limit');
        expect(answers.map(({ error }) => error)).to.deep.equal(Array(40).fill('ECONNREFUSED'));
        expect(Math.max(...answers.map(({ elapsedMs }) => elapsedMs))).to.be.lessThan(500);
      });

      describe('of clients told by where they come from', () => {
        type Expected = readonly [pod1: string, pod2: string, node: string, ext: string];
        const [OUTER, INNER, DROPPED] = ['listener 30002', 'listener 30001', 'TIMEOUT'];
        const TIMEOUT_MS = 400;
        /** `unsent`: the filter drops it as it leaves the node, whose UDP sender is told. */
        const rows: readonly (readonly [title: string, address: () => Ip, port: number, expected: Expected])[] = [
          ['no local endpoint: from inside alone (E6, E7)', () => balanced(10), 80, [INNER, INNER, INNER, DROPPED]],
          ['local endpoints: each side has its own (E7)', () => balanced(11), 80, [INNER, INNER, INNER, OUTER]],
          ['a client and the node allowed (E8)', () => balanced(12), 80, [DROPPED, DROPPED, OUTER, OUTER]],
          ['pods allowed (E8)', () => balanced(13), 80, [OUTER, OUTER, 'unsent', DROPPED]],
          ['a pod and a client allowed (E7, E8)', () => balanced(14), 80, [INNER, DROPPED, 'unsent', OUTER]],
          ['allowed, but no local endpoint (E6-E8)', () => balanced(15), 80, [INNER, DROPPED, INNER, DROPPED]],
          ['a node port that drops (E6)', () => host, 31_000, [DROPPED, DROPPED, 'node port', DROPPED]],
          ['it, at another address', () => lab.gateway[family], 31_000, [DROPPED, DROPPED, 'node port', DROPPED]],
          ['a node port of one address (E6)', () => host, 31_001, [DROPPED, DROPPED, 'node port', DROPPED]],
          ['its other addresses', () => lab.gateway[family], 31_001, Array(4).fill('node port') as unknown as Expected],
        ];
        /** By protocol, place and row. */
        const found = { TCP: [] as string[][], UDP: [] as string[][] };

        before(async () => {
          const { pod1, pod2, node, ext } = lab.ns;
          for (const protocol of ['TCP', 'UDP'] as const) {
            const dials = rows.map(([, address, port]) => ({ host: address(), port, protocol, timeoutMs: TIMEOUT_MS }));
            const answers = await Promise.all([pod1, pod2, node, ext].map((place) => place.dial(dials)));
            found[protocol] = answers.map((all) => all.map(([answer]) => answer?.by ?? answer?.error ?? '?'));
          }
        });

        for (const protocol of ['TCP', 'UDP'] as const) {
          for (const [row, [title, , , expected]] of rows.entries()) {
            it(`${title} (${protocol})`, () => {
              const unsent = protocol === 'TCP' ? DROPPED : 'EPERM';
              expect(found[protocol].map((place) => place[row])).to.deep.equal(
                expected.map((one) => (one === 'unsent' ? unsent : one)),
              );
            });
          }
        }
      });

      describe('of a UDP flow that goes on while its redirect changes (R8)', () => {
        /** A client that keeps one socket: it sends for every line on stdin and prints who answered. */
        async function flow(
          address: Ip,
          from = lab.ns.pod1,
        ): Promise<Child & { readonly asks: () => Promise<string> }> {
          const script = `
            const socket = require('node:dgram').createSocket('udp${family === 'IPv4' ? 4 : 6}');
            socket.on('error', (error) => console.log(error.code));
            socket.on('message', (data) => console.log(JSON.parse(data).name));
            socket.connect(53, '${address}', () => console.log('connected'));
            process.stdin.on('data', () => socket.send('ask'));`;
          const child = from.spawn(process.execPath, ['-e', script]);
          await child.waitFor('connected\n');
          const asks = async () => {
            const seen = child.stdout.length;
            child.write('x');
            await until('an answer', () => child.stdout.length > seen || undefined);
            return child.stdout.slice(seen).trim();
          };
          return Object.assign(child, { asks });
        }
        const change = (address: Ip, action: RedirectAction) =>
          redirector.apply({ set: [redirect(address, 53, 'UDP', action)], remove: [] });
        const flows = () => lab.ns.node.must('conntrack', ['-L', '-f', family.toLowerCase(), '-p', 'udp']);

        it('follow it from one listener to another', async () => {
          await change(service(30), listener(30_001));
          const client = await flow(service(30));
          expect(await client.asks()).to.equal('listener 30001');
          await change(service(30), listener(30_002));
          expect(await client.asks()).to.equal('listener 30002');
        });

        it('find the listener where they went out unredirected before', async () => {
          const client = await flow(service(31));
          client.write('x');
          await until('the flow', async () => (await flows()).includes(`dst=${service(31)} `));
          await change(service(31), listener(30_001));
          expect(await client.asks()).to.equal('listener 30001');
        });

        it('are refused where it ends in a refusal', async () => {
          await change(service(32), listener(30_001));
          const client = await flow(service(32));
          expect(await client.asks()).to.equal('listener 30001');
          await change(service(32), REFUSAL);
          expect(await client.asks()).to.equal('ECONNREFUSED');
        });

        it('follow it outside, and stay inside where they were (E7)', async () => {
          const address = balanced(40);
          await change(address, listener(30_001));
          const [pod, ext] = [await flow(address), await flow(address, lab.ns.ext)];
          expect(await Promise.all([pod.asks(), ext.asks()])).to.deep.equal(Array(2).fill('listener 30001'));
          const before = (await flows()).split('\n').filter((line) => line.includes(`dst=${address} `));
          const changed = redirect(address, 53, 'UDP', listener(30_002));
          await redirector.apply({ set: [{ ...changed, insideAction: listener(30_001) }], remove: [] });
          const left = (await flows()).split('\n').filter((line) => line.includes(`dst=${address} `));
          const client = (line: string) => / src=(\S+) /.exec(line)?.[1];
          expect(before.map(client)).to.have.members([lab.ns.pod1.address[family], lab.ns.ext.address[family]]);
          expect(left.map(client)).to.deep.equal([lab.ns.pod1.address[family]]);
          expect(await Promise.all([pod.asks(), ext.asks()])).to.deep.equal(['listener 30001', 'listener 30002']);
        });

        it('keep the flows of frontends that did not change', async () => {
          await change(service(33), listener(30_001));
          await change(service(34), listener(30_001));
          const [staying, leaving] = [await flow(service(33)), await flow(service(34))];
          await staying.asks();
          await leaving.asks();
          await redirector.apply({
            set: [],
            remove: [frontendKey(redirect(service(34), 53, 'UDP', REFUSAL).frontend)],
          });
          const left = await flows();
          expect(left).to.include(`dst=${service(33)} `);
          expect(left).not.to.include(`dst=${service(34)} `);
        });
      });
    });
  }
}
