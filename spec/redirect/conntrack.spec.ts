import { expect } from 'chai';
import type { CommandResult, Exec } from '../../lib/redirect/command.js';
import { FlowForgetter, type FlowTarget, staleFlows } from '../../lib/redirect/conntrack.js';
import { frontend, keptLog, watched } from './support.js';

const LISTING = `
udp      17 29 src=10.244.1.11 dst=10.96.0.10 sport=4000 dport=53 src=192.0.2.1 dst=10.244.1.11 sport=30000 dport=4000 mark=0 use=1
udp      17 29 src=10.244.1.12 dst=10.96.0.10 sport=4001 dport=53 src=192.0.2.1 dst=10.244.1.12 sport=30000 dport=4001 [ASSURED] mark=0 use=1
udp      17 29 src=10.244.1.11 dst=10.96.0.10 sport=4002 dport=53 [UNREPLIED] src=10.96.0.10 dst=10.244.1.11 sport=53 dport=4002 mark=0 use=1
udp      17 29 src=10.244.1.11 dst=10.96.0.10 sport=4003 dport=54 src=192.0.2.1 dst=10.244.1.11 sport=30000 dport=4003 mark=0 use=1
udp      17 29 src=10.96.0.10 dst=10.244.1.9 sport=53 dport=9 src=10.244.1.9 dst=10.96.0.10 sport=9 dport=53 mark=0 use=1
udp      17 29 src=fd00::5 dst=fd00:10:96::a sport=4000 dport=53 src=2001:db8::1 dst=fd00::5 sport=30000 dport=4000 mark=0 use=1
`;

/** Whoever the client is. */
const leading = (text: string, place: ReturnType<FlowTarget['placeFor']>): FlowTarget => ({
  frontend: frontend(text),
  placeFor: () => place,
});

const places = (targets: readonly FlowTarget[]) =>
  staleFlows(LISTING, targets).map(
    ({ address, port, placeHost, placePort, client }) =>
      `${address} ${port} ${placeHost} ${placePort}${client === undefined ? '' : ` of ${client}`}`,
  );

describe('staleFlows (R8)', () => {
  const dns = '10.96.0.10:53/UDP';

  it('finds, once, each place that a frontend does not lead to any more', () => {
    expect(places([leading(dns, { host: '192.0.2.1', port: 30_001 })])).to.deep.equal([
      '10.96.0.10 53 192.0.2.1 30000',
      '10.96.0.10 53 10.96.0.10 53',
    ]);
  });

  it('leaves flows that go where they should', () => {
    expect(places([leading(dns, { host: '192.0.2.1', port: 30_000 })])).to.deep.equal(['10.96.0.10 53 10.96.0.10 53']);
  });

  it('finds every flow of a frontend that leads nowhere', () => {
    expect(places([leading(dns, undefined)])).to.have.lengthOf(2);
  });

  it('finds the flows of one client where others are still led there (E7)', () => {
    const listeners = [30_000, 30_001].map((port) => ({ host: '192.0.2.1', port }));
    const placeFor = (client: string) => listeners[client === '10.244.1.11' ? 1 : 0];
    expect(places([{ frontend: frontend(dns), placeFor }])).to.deep.equal([
      '10.96.0.10 53 192.0.2.1 30000 of 10.244.1.11',
      '10.96.0.10 53 10.96.0.10 53',
    ]);
  });

  it('reads IPv6 flows', () => {
    expect(places([leading('[fd00:10:96::a]:53/UDP', undefined)])).to.deep.equal([
      'fd00:10:96::a 53 2001:db8::1 30000',
    ]);
  });

  it('finds nothing for frontends without flows, nor in lines that are none', () => {
    expect(places([leading('10.96.0.11:53/UDP', undefined)])).to.deep.equal([]);
    expect(staleFlows('conntrack v1.4.7: 0 flow entries have been shown.\n', [leading(dns, undefined)])).to.deep.equal(
      [],
    );
  });
});

describe('FlowForgetter', () => {
  const answering =
    (result: Partial<CommandResult>): Exec =>
    async () => ({ code: 0, stdout: '', stderr: '', ...result });
  const target = (text: string) => leading(text, undefined);

  it('deletes stale flows by frontend and place, and nothing wider', async () => {
    const exec = watched(answering({ stdout: LISTING }));
    await new FlowForgetter(exec, keptLog()).forget('IPv4', [target('10.96.0.10:54/UDP'), target('10.96.0.99:53/UDP')]);
    expect(exec.ran).to.deep.equal([
      'conntrack -L -f ipv4 -p udp',
      'conntrack -D -f ipv4 -p udp --orig-dst 10.96.0.10 --orig-port-dst 54 --reply-src 192.0.2.1 --reply-port-src 30000',
    ]);
  });

  it('deletes the flows of one client alone where others are led there rightly', async () => {
    const exec = watched(answering({ stdout: LISTING }));
    const place = { host: '192.0.2.1', port: 30_000 };
    const placeFor = (client: string) => (client === '10.244.1.12' ? place : undefined);
    await new FlowForgetter(exec, keptLog()).forget('IPv4', [{ frontend: frontend('10.96.0.10:53/UDP'), placeFor }]);
    expect(exec.ran).to.include(
      'conntrack -D -f ipv4 -p udp --orig-dst 10.96.0.10 --orig-port-dst 53 --reply-src 192.0.2.1 --reply-port-src 30000 --orig-src 10.244.1.11',
    );
  });

  it('lists the flows of one frontend alone where one has changed', async () => {
    const exec = watched(answering({}));
    await new FlowForgetter(exec, keptLog()).forget('IPv6', [target('[fd00::a]:53/UDP'), target('[fd00::b]:80/TCP')]);
    expect(exec.ran).to.deep.equal(['conntrack -L -f ipv6 -p udp --orig-dst fd00::a --orig-port-dst 53']);
  });

  it('runs nothing for TCP', async () => {
    const exec = watched(answering({}));
    await new FlowForgetter(exec, keptLog()).forget('IPv4', [target('10.96.0.10:80/TCP')]);
    expect(exec.ran).to.deep.equal([]);
  });

  it('says why flows are not deleted, and lets the sync go on', async () => {
    const log = keptLog();
    await new FlowForgetter(answering({ code: 1, stderr: 'Operation failed' }), log).forget('IPv4', [
      target('10.96.0.10:53/UDP'),
    ]);
    expect(log.lines.map(({ level, err }) => `${level}: ${err}`)).to.deep.equal([
      'warn: RedirectError: conntrack -L exited 1: Operation failed',
    ]);
  });

  it('bounds the programs that one sync runs', async () => {
    const line = (n: number) =>
      `udp 17 29 src=10.0.0.1 dst=10.96.0.10 sport=1 dport=53 src=192.0.2.1 dst=10.0.0.1 sport=${n} dport=1`;
    const exec = watched(answering({ stdout: Array.from({ length: 2_000 }, (_, n) => line(n + 1)).join('\n') }));
    const log = keptLog();
    await new FlowForgetter(exec, log).forget('IPv4', [target('10.96.0.10:53/UDP')]);
    expect(exec.ran).to.have.lengthOf(513);
    expect(log.lines[0]).to.deep.include({ level: 'warn', count: 2_000 });
  });
});
