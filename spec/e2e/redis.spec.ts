import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import type { Child } from '../support/lab/child.js';
import { createLab, type Lab } from '../support/lab/lab.js';
import type { Namespace } from '../support/lab/namespace.js';
import { ManifestDir, PROGRAM, ROOT, startProxy } from '../support/proxy.js';
import { requires } from '../support/requires.js';
import { until } from '../support/until.js';

const NODE = '192.168.77.1';
const CLUSTER_IP = '10.96.97.239';
const NODE_PORT = ['-h', NODE, '-p', '31269'] as const;

/** The example's manifests, with the addresses of the lab's pods for those of the walkthrough. */
async function example(path: string): Promise<string> {
  const text = await readFile(join(ROOT, 'examples/redis', path), 'utf8');
  return text.replaceAll('127.0.0.11', '10.244.1.11').replaceAll('127.0.0.12', '10.244.1.12');
}

describe('the Redis Service of the course, end to end', function () {
  this.timeout(60_000);
  let lab: Lab;
  let manifests: ManifestDir;
  let proxy: Child;
  let before_: readonly string[];

  before(async function () {
    requires(this, 'root', 'ip', 'iptables', 'redis-server', 'redis-cli', 'redis-benchmark', 'ss', 'netstat');
    lab = await createLab();
    await someoneElsesRules(lab.ns.node);
    before_ = await rules(lab.ns.node);
    for (const pod of [lab.ns.pod1, lab.ns.pod2]) {
      const server = pod.spawn('redis-server', ['--bind', pod.address.IPv4, '--protected-mode', 'no', '--save', '']);
      await server.waitFor('Ready to accept connections');
    }
    manifests = await ManifestDir.create();
    await manifests.write('service.yaml', await example('manifests/service.yaml'));
    await manifests.write('endpointslice.yaml', await example('manifests/endpointslice.yaml'));
    proxy = await startProxy(lab.ns.node, '--manifests', manifests.path);
  });

  after(async () => {
    await lab?.close();
    await manifests?.remove();
  });

  const redis = async (from: Namespace, ...args: readonly string[]) => (await from.must('redis-cli', args)).trim();

  /** The pod that answered, by the address it binds. */
  const whoAnswers = async (from: Namespace, ...at: readonly string[]) =>
    (await redis(from, ...at, 'config', 'get', 'bind')).split('\n').at(-1);

  it('sets and gets through the node port from outside', async () => {
    expect(await redis(lab.ns.ext, ...NODE_PORT, 'set', 'greeting', 'hello')).to.equal('OK');
    expect(await redis(lab.ns.ext, ...NODE_PORT, 'get', 'greeting')).to.equal('hello');
  });

  it('answers on the cluster IP from a pod, from the serving pod itself, and from the node (R3)', async () => {
    for (const from of [lab.ns.pod2, lab.ns.pod1, lab.ns.node]) {
      expect(await redis(from, '-h', CLUSTER_IP, 'get', 'greeting'), from.title).to.equal('hello');
    }
  });

  it('shows kproxy-us on the node port to ss and netstat', async () => {
    const line = (text: string) => text.split('\n').find((one) => one.includes(':31269'));
    expect(line(await lab.ns.node.must('ss', ['-ltnp']))).to.include('"kproxy-us"');
    expect(line(await lab.ns.node.must('netstat', ['-ntlp']))).to.match(/LISTEN +\d+\/kproxy-us/);
  });

  it('sends every connection to the only pod', async () => {
    const seen = new Set<string | undefined>();
    for (let at = 0; at < 6; at++) seen.add(await whoAnswers(lab.ns.ext, ...NODE_PORT));
    expect([...seen]).to.deep.equal(['10.244.1.11']);
  });

  it('serves both pods in turn within a second of scaling to two, and keeps the connection that was open (B1)', async () => {
    const session = await lab.ns.ext.talk(NODE, 31_269);
    await manifests.write('endpointslice.yaml', await example('scaled-to-two.yaml'));
    await until('the second pod', async () => (await whoAnswers(lab.ns.ext, ...NODE_PORT)) === '10.244.1.12', 2_000);
    for (const at of [NODE_PORT, ['-h', CLUSTER_IP]] as const) {
      const from = at === NODE_PORT ? lab.ns.ext : lab.ns.node;
      const turns: (string | undefined)[] = [];
      for (let turn = 0; turn < 6; turn++) turns.push(await whoAnswers(from, ...at));
      const [first, second] = turns;
      expect([first, second]).to.have.members(['10.244.1.11', '10.244.1.12']);
      expect(turns).to.deep.equal([first, second, first, second, first, second]);
    }
    session.write('PING\r\n');
    await session.waitFor('+PONG');
    await session.stop('SIGTERM');
  });

  it('carries a redis-benchmark without an error', async () => {
    const args = ['-h', NODE, '-p', '31269', '-n', '20000', '-c', '50', '-P', '4', '-t', 'set,get,lrange_100', '-q'];
    const { code, stdout, stderr } = await lab.ns.ext.run('redis-benchmark', args, { timeoutMs: 50_000 });
    expect(`${stdout}${stderr}`).to.not.match(/error|refused|reset|closed/i);
    expect(stdout.match(/requests per second/g)).to.have.length(4);
    expect(code).to.equal(0);
  });

  it('still answers when a pod dies without a word (T2)', async () => {
    await lab.ns.pod1.killAll();
    for (let at = 0; at < 10; at++) expect(await redis(lab.ns.ext, ...NODE_PORT, 'ping')).to.equal('PONG');
  });

  it('ends with 0 on SIGTERM and leaves its rules; cleanup removes them and nothing else, twice (R6, Y6)', async () => {
    await proxy.stop('SIGTERM');
    expect(proxy.exit).to.deep.equal({ code: 0, signal: null });
    expect((await rules(lab.ns.node)).join('\n')).to.include('KPROXY-US');
    for (let time = 0; time < 2; time++) {
      await lab.ns.node.must(process.execPath, [PROGRAM, 'cleanup']);
      expect(await rules(lab.ns.node)).to.deep.equal(before_);
    }
  });
});

/** Rules as another program of the node may have them. */
async function someoneElsesRules(node: Namespace): Promise<void> {
  for (const tool of ['iptables', 'ip6tables']) {
    await node.must(tool, ['-t', 'nat', '-N', 'DOCKER']);
    await node.must(tool, ['-t', 'nat', '-A', 'PREROUTING', '-m', 'addrtype', '--dst-type', 'LOCAL', '-j', 'DOCKER']);
    await node.must(tool, ['-A', 'INPUT', '-p', 'tcp', '--dport', '22', '-j', 'ACCEPT']);
  }
}

/** Both families' rules, without what counts packets or tells the time. */
async function rules(node: Namespace): Promise<readonly string[]> {
  const saved = await Promise.all(['iptables-save', 'ip6tables-save'].map((tool) => node.must(tool)));
  return saved
    .flatMap((text) => text.split('\n').filter((line) => !line.startsWith('#')))
    .map((line) => line.replace(/ \[\d+:\d+\]$/, ''));
}
