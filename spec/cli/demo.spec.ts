import { type ChildProcess, spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { expect } from 'chai';
import { PROGRAM } from '../support/proxy.js';
import { until, within } from '../support/until.js';

/** A demo that runs, and what it printed. */
interface Demo {
  readonly child: ChildProcess;
  readonly text: () => string;
  /** The first group of a pattern in what it printed. */
  readonly find: (pattern: RegExp) => string;
}

async function startDemo(): Promise<Demo> {
  const child = spawn(process.execPath, [PROGRAM, 'demo', '--engine', 'portable'], {
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  let text = '';
  child.stdout?.on('data', (part) => {
    text += String(part);
  });
  let errors = '';
  child.stderr?.on('data', (part) => {
    errors += String(part);
  });
  const failed = once(child, 'exit').then(() => {
    throw new Error(`the demo ended: ${text}${errors}`);
  });
  await Promise.race([until('the words of the demo', () => text.includes('Ctrl-C ends everything'), 20_000), failed]);
  failed.catch(() => undefined);
  return { child, text: () => text, find: (pattern) => pattern.exec(text)?.[1] ?? '' };
}

/** As a terminal does at Ctrl-C: SIGINT goes to the whole group of processes. */
async function interrupt({ child }: Demo): Promise<void> {
  const exit = once(child, 'exit');
  process.kill(-(child.pid ?? 0), 'SIGINT');
  await within('the end of the demo', exit, 10_000);
}

async function kill({ child }: Demo): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, 'exit');
  child.kill('SIGKILL');
  await within('the end of the demo', exit, 10_000);
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

const pidsOf = ({ text }: Demo) => [...text().matchAll(/, pid (\d+)\)/g)].map(([, pid]) => Number(pid));

const folderOf = (demo: Demo) => demo.find(/(\/\S+kproxy-us-demo-\w+)\//);

async function ask(url: string): Promise<string> {
  return (await (await fetch(url, { signal: AbortSignal.timeout(5_000) })).text()).trim();
}

function askUdp(port: number): Promise<string> {
  const socket = createSocket('udp4');
  const answer = new Promise<string>((resolve, reject) => {
    socket.once('message', (message) => resolve(message.toString().trim()));
    socket.once('error', reject);
  });
  socket.send('hi', port, '127.0.0.1');
  return within('the reply', answer).finally(() => socket.close());
}

describe('the demo, without a cluster and without root', function () {
  this.timeout(60_000);
  let taken: Server;
  let demo: Demo;

  before(async () => {
    // Its favourite port is taken, whoever holds it.
    taken = createServer();
    await new Promise<void>((resolve) => {
      taken.on('error', () => resolve()).listen(30_080, '127.0.0.1', resolve);
    });
    demo = await startDemo();
  });

  after(async () => {
    if (demo !== undefined) await kill(demo);
    taken.close();
  });

  const url = () => demo.find(/curl (http:\S+)/);

  it('takes a free port where its own is taken', () => {
    expect(url()).to.match(/^http:\/\/127\.0\.0\.1:\d+\/$/);
    expect(url()).to.not.contain(':30080');
  });

  it('answers from both backends in turn (B1)', async () => {
    const answers = [await ask(url()), await ask(url()), await ask(url()), await ask(url())];
    expect(answers.slice(0, 2).toSorted()).to.deep.equal(['hello from web-1', 'hello from web-2']);
    expect(answers.slice(2)).to.deep.equal(answers.slice(0, 2));
  });

  it('answers UDP (U1)', async () => {
    expect(await askUdp(Number(demo.find(/nc -u -w1 127\.0\.0\.1 (\d+)/)))).to.match(/^echo-[12] heard: hi$/);
  });

  it('takes an edit of its manifests while it runs', async () => {
    const file = demo.find(/sed -i \S+ \S+ \S+ (\S+\.yaml)/);
    const ready = await readFile(file, 'utf8');
    await writeFile(file, ready.replace('ready: true', 'ready: false'));
    const answers = async () => new Set([await ask(url()), await ask(url())]);
    await until('web-1 to answer alone', async () => (await answers()).size === 1, 10_000);
    await writeFile(file, ready);
    await until('both to answer', async () => (await answers()).size === 2, 10_000);
  });

  it('says when a backend is killed, and no client notices (T2)', async () => {
    process.kill(Number(demo.find(/\n {2}kill (\d+)/)));
    await until('the line', () => demo.text().includes('(web-1 is gone: web-2 serves web now)'));
    for (let n = 0; n < 6; n++) expect(await ask(url())).to.equal('hello from web-2');
  });

  it('counts what happened where it says it does (H4)', async () => {
    const metrics = await ask(demo.find(/curl -s (http:\S+)/));
    expect(metrics).to.match(/^kproxy_us_connections_total\{namespace="default",service="web",.*\} [1-9]\d*$/m);
    expect(metrics).to.match(/^kproxy_us_dial_failures_total\{namespace="default",service="web",.*\} [1-9]\d*$/m);
  });

  it('ends with 0 at Ctrl-C, says nothing of its backends, and leaves nothing behind', async () => {
    const folder = folderOf(demo);
    expect(existsSync(folder)).to.equal(true);
    await interrupt(demo);
    expect(demo.child.exitCode).to.equal(0);
    expect(demo.text().match(/ is gone/g)).to.have.length(1);
    expect(existsSync(folder)).to.equal(false);
    expect(pidsOf(demo).filter(isAlive)).to.deep.equal([]);
  });
});

describe('a demo that is killed', function () {
  this.timeout(60_000);

  it('takes its backends along', async () => {
    const demo = await startDemo();
    const pids = pidsOf(demo);
    expect(pids).to.have.length(4);
    await kill(demo);
    await rm(folderOf(demo), { recursive: true });
    await until('the backends to end', () => !pids.some(isAlive));
  });
});
