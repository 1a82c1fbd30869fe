import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { expect } from 'chai';
import { createLab, type Lab } from './lab/lab.js';
import { requires } from './requires.js';
import { until } from './until.js';

const namespaces = () => execFileSync('ip', ['netns', 'list'], { encoding: 'utf8' }).split('\n');
const alive = (pid: number) => readdirSync('/proc').includes(String(pid));

describe('createLab', () => {
  let lab: Lab;

  before(async function () {
    requires(this, 'root', 'ip', 'setpriv', 'ipv6');
    lab = await createLab({ pods: 3, multiHomed: true });
    await Promise.all([lab.ns.node, lab.pod(1), lab.pod(3)].map((ns) => ns.serve({ port: 80 })));
    await lab.ns.node.serve({ port: 80, name: 'second', hosts: Object.values(lab.secondNodeAddress) });
  });

  after(() => lab?.close());

  for (const family of ['IPv4', 'IPv6'] as const) {
    for (const protocol of ['TCP', 'UDP'] as const) {
      it(`lets ext, node and pods reach each other over ${protocol} and ${family}, with their own addresses`, async () => {
        const { node, ext } = lab.ns;
        const pod1 = lab.pod(1);
        const pod3 = lab.pod(3);
        const pairs = [
          [ext, node],
          [ext, pod1],
          [node, pod3],
          [pod1, node],
          [pod1, pod3],
          [pod3, pod3],
        ] as const;
        for (const [from, to] of pairs) {
          const [answers = []] = await from.dial([{ host: to.address[family], port: 80, protocol }]);
          const seen = answers.map(({ by, client }) => ({ by, client }));
          // A node's own packet to a pod leaves from its address on the bridge.
          const client = from === node ? lab.gateway[family] : from.address[family];
          expect(seen, `${from.title} -> ${to.title}`).to.deep.equal([{ by: to.title, client }]);
        }
      });
    }

    it(`routes any ${family} address of a Service from the node to ext, and from ext and pods to the node`, async () => {
      const address = { IPv4: '10.96.0.1', IPv6: 'fd00:10:96::1' }[family];
      const via = (from: Lab['ns']['node']) => from.must('ip', ['route', 'get', address]);
      expect(await via(lab.ns.node)).to.include(`via ${lab.ns.ext.address[family]} dev eth0`);
      expect(await via(lab.ns.ext)).to.include(`via ${lab.ns.node.address[family]} dev eth0`);
      expect(await via(lab.pod(2))).to.include(`via ${lab.gateway[family]} dev eth0`);
    });

    it(`gives a multi-homed node a second ${family} address`, async () => {
      expect(await lab.ns.ext.ask(lab.secondNodeAddress[family], 80)).to.deep.equal(['second']);
    });
  }

  it('tells a refusal from a silence, and both from an answer', async () => {
    const host = lab.pod(1).address.IPv4;
    const [refused, silent, refusedUdp, answered] = await lab.ns.ext.dial([
      { host, port: 81 },
      { host: '10.244.1.200', port: 80, timeoutMs: 200 },
      { host, port: 81, protocol: 'UDP' },
      { host, port: 80, count: 2 },
    ]);
    expect(refused?.map(({ error }) => error)).to.deep.equal(['ECONNREFUSED']);
    expect(silent?.map(({ error }) => error)).to.deep.equal(['TIMEOUT']);
    expect(refusedUdp?.map(({ error }) => error)).to.deep.equal(['ECONNREFUSED']);
    expect(answered?.map(({ by }) => by)).to.deep.equal(['pod1', 'pod1']);
  });

  it('sends the datagrams of one flow from one port, and counts their bytes', async () => {
    const { IPv4: host } = lab.pod(1).address;
    const [answers = []] = await lab.ns.ext.dial([
      { host, port: 80, protocol: 'UDP', oneFlow: true, count: 3, bytes: 20_000 },
    ]);
    expect(answers.map(({ bytes }) => bytes)).to.deep.equal([20_000, 20_000, 20_000]);
    expect(new Set(answers.map(({ clientPort }) => clientPort))).to.have.lengthOf(1);
  });

  it('talks over one connection and half-closes it', async () => {
    const talk = await lab.ns.ext.talk(lab.pod(1).address.IPv6, 80);
    talk.write('ping ');
    await talk.waitFor('ping ');
    talk.end('pong');
    await talk.waitFor('eof');
    expect(talk.stdout).to.match(/\nping pong$/);
    expect(await talk.exited).to.deep.equal({ code: 0, signal: null });
  });

  it('lets a pod come back to itself through the bridge', async () => {
    const ports = await lab.ns.node.must('bridge', ['-details', 'link', 'show', 'dev', 'pod1']);
    expect(ports).to.include('hairpin on');
  });

  it('keeps sysctls to one namespace', async () => {
    const read = (ns: Lab['ns']['node']) => ns.must('cat', ['/proc/sys/net/ipv4/tcp_fin_timeout']);
    await lab.ns.ext.sysctl({ 'net.ipv4.tcp_fin_timeout': 7 });
    expect(await read(lab.ns.ext)).to.equal('7\n');
    expect(await read(lab.ns.node)).not.to.equal('7\n');
  });

  it('runs a program with input and gives its exit code and output', async () => {
    const script = "process.stdin.on('data', (d) => { console.error(String(d)); process.exitCode = 3; })";
    const result = await lab.ns.node.run(process.execPath, ['-e', script], { input: 'some text' });
    expect(result).to.deep.equal({ code: 3, stdout: '', stderr: 'some text\n' });
  });

  it('kills a program that takes too long', async () => {
    const started = lab.ns.node.run('sleep', ['60'], { timeoutMs: 50 });
    const error = await started.then(
      () => undefined,
      (reason: Error) => reason,
    );
    expect(error?.message).to.include('took over 50 ms');
  });

  it('says what a program printed that ended before it was ready', async () => {
    const child = lab.ns.node.spawn(process.execPath, ['-e', 'console.log("no luck")']);
    const error = await child.waitFor('ready').then(
      () => undefined,
      (reason: Error) => reason,
    );
    expect(error?.message).to.include('no luck');
  });
});

describe('Lab.close', () => {
  before(function () {
    requires(this, 'root', 'ip', 'setpriv', 'ipv6');
  });

  it('leaves no process, not even one that left its parent, and no namespace', async () => {
    const lab = await createLab();
    const fork = `require('node:child_process').spawn('sleep', ['61'], { detached: true }).on('spawn', () => console.log('up'))`;
    const parent = lab.ns.pod1.spawn(process.execPath, ['-e', fork]);
    await parent.waitFor('up');
    const pids = (await lab.ns.pod1.must('ip', ['netns', 'pids', lab.ns.pod1.name])).trim().split('\n').map(Number);
    const name = lab.ns.pod1.name;
    await lab.close();
    await lab.close();
    expect(pids.length).to.be.at.least(2);
    await until('every process to be gone', () => !pids.some(alive));
    expect(namespaces().join('\n')).not.to.include(name.replace('pod1', ''));
  });

  it('is done by a process that ends by an uncaught error', async () => {
    const { pid, output } = await crash("throw new Error('boom')");
    expect(output).to.include('boom');
    expect(namespaces().filter((name) => name.startsWith(`kpus-${pid}-`))).to.deep.equal([]);
  });

  it('is made up for by the next lab where a process was killed', async () => {
    const { pid, child } = await crash("process.kill(process.pid, 'SIGKILL')");
    const left = () => namespaces().filter((name) => name.startsWith(`kpus-${pid}-`));
    expect(left().length).to.be.greaterThan(0);
    await until('its processes to die with it', () => !alive(child));
    await (await createLab()).close();
    expect(left()).to.deep.equal([]);
  });

  /** Runs a process that makes a lab with one process in it, then ends as told. */
  async function crash(ending: string): Promise<{ pid: number; child: number; output: string }> {
    const script = `
      import { createLab } from ${JSON.stringify(new URL('./lab/lab.js', import.meta.url).href)};
      const lab = await createLab();
      console.log('child', lab.ns.pod1.spawn('sleep', ['62']).pid);
      setTimeout(() => { ${ending} }, 100);`;
    const node = spawn(process.execPath, ['--input-type=module', '-e', script]);
    let output = '';
    for (const stream of [node.stdout, node.stderr]) stream.on('data', (data) => (output += data));
    await once(node, 'close');
    return { pid: node.pid ?? 0, child: Number(/child (\d+)/.exec(output)?.[1]), output };
  }
});
