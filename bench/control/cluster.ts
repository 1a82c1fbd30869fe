/**
 * Owns a cluster as kproxy-us sees it, for one run inside the node's namespace: a scripted API server with many Services, and
 * two real backends that say who they are.
 *
 *   argv: JSON Settings -> `ready` -> stdin: JSON Load -> changes at the API server, dials -> stdout: JSON Outcome
 */
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { createInterface } from 'node:readline';
import { ApiServer, kubeconfig } from '../../spec/support/api-server/api-server.js';

export interface Settings {
  readonly services: number;
  readonly endpoints: number;
  /** Written when the API server listens. */
  readonly kubeconfig: string;
  /** Two addresses of the node: where the real backends listen. */
  readonly backends: readonly [string, string];
}

/** Changes of one slice each, evenly spread; every `sampleEvery`th is followed to the first connection that may use it. */
export interface Load {
  readonly perSecond: number;
  readonly seconds: number;
  readonly sampleEvery: number;
}

export interface Outcome {
  readonly changes: number;
  /** Milliseconds from the change at the API server to the first connection that the new endpoint answers. */
  readonly latenciesMs: readonly number[];
}

const BACKEND_PORT = 8_080;
const SAMPLE_TIMEOUT_MS = 10_000;

const settings = JSON.parse(process.argv[2] ?? '') as Settings;

const clusterIp = (index: number) => `10.96.${(index >> 8) & 255}.${index & 255}`;

function service(index: number): object {
  const ip = clusterIp(index);
  const metadata = { name: `service-${index}`, namespace: `namespace-${index % 50}`, uid: `uid-${index}` };
  const ports = [{ name: 'http', port: 80, targetPort: BACKEND_PORT, protocol: 'TCP' }];
  return { metadata, spec: { type: 'ClusterIP', clusterIP: ip, clusterIPs: [ip], ipFamilies: ['IPv4'], ports } };
}

function slice(index: number, addresses: readonly string[]): object {
  const labels = { 'kubernetes.io/service-name': `service-${index}` };
  return {
    metadata: { name: `service-${index}-abcde`, namespace: `namespace-${index % 50}`, labels },
    addressType: 'IPv4',
    ports: [{ name: 'http', port: BACKEND_PORT, protocol: 'TCP' }],
    endpoints: addresses.map((address, at) => ({
      addresses: [address],
      conditions: { ready: true, serving: true, terminating: false },
      nodeName: `node-${at}`,
      targetRef: { kind: 'Pod', name: `service-${index}-${at}`, namespace: `namespace-${index % 50}` },
    })),
  };
}

/** Addresses of pods that nobody dials; `turn` changes the first. */
function podAddresses(index: number, turn: number): string[] {
  const base = index * settings.endpoints;
  const address = (at: number) => `10.${128 + ((at >> 16) & 63)}.${(at >> 8) & 255}.${at & 255}`;
  const rest = Array.from({ length: settings.endpoints - 1 }, (_, at) => address(base + at + 1));
  return [address(base + (turn % 2 === 0 ? 0 : 4_000_000)), ...rest];
}

async function startBackend(host: string): Promise<void> {
  const server = createServer((socket) => socket.on('error', () => undefined).end(host));
  await once(server.listen(BACKEND_PORT, host), 'listening');
}

/** Who answers at a cluster IP, or '' for a failure. */
function ask(host: string): Promise<string> {
  return new Promise((resolve) => {
    let text = '';
    const socket = connect(80, host);
    socket.on('data', (chunk) => {
      text += String(chunk);
    });
    socket.on('error', () => resolve(''));
    socket.on('close', () => resolve(text));
  });
}

async function sample(server: ApiServer, index: number, backend: string): Promise<number> {
  const startMs = performance.now();
  server.history.put('slices', slice(index, [backend]));
  while ((await ask(clusterIp(index))) !== backend) {
    if (performance.now() - startMs > SAMPLE_TIMEOUT_MS) throw new Error(`service-${index} never reached ${backend}`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  return performance.now() - startMs;
}

async function run(server: ApiServer, { perSecond, seconds, sampleEvery }: Load): Promise<Outcome> {
  const total = perSecond * seconds;
  // One half of the Services is followed, the other changes beside it: none is changed again while it is followed.
  const half = Math.floor(settings.services / 2);
  const startMs = performance.now();
  const samples: Promise<number>[] = [];
  for (let change = 0; change < total; change++) {
    const waitMs = startMs + (change * 1_000) / perSecond - performance.now();
    if (waitMs > 1) await new Promise((resolve) => setTimeout(resolve, waitMs));
    if (change % sampleEvery === 0) {
      const turn = change / sampleEvery;
      const backend = settings.backends[Math.floor(turn / half) % 2] ?? '';
      samples.push(sample(server, turn % half, backend));
    } else {
      const index = half + (change % half);
      server.history.put('slices', slice(index, podAddresses(index, Math.floor(change / half) + 1)));
    }
  }
  return { changes: total, latenciesMs: await Promise.all(samples) };
}

await Promise.all(settings.backends.map(startBackend));
const server = await ApiServer.start();
for (let index = 0; index < settings.services; index++) {
  server.history.put('services', service(index));
  server.history.put('slices', slice(index, podAddresses(index, 0)));
}
// A dial to an address of nobody would wait for its time-out: those that are followed begin at a real backend.
const followed = (load: Load) =>
  Math.min(Math.floor(settings.services / 2), (load.perSecond * load.seconds) / load.sampleEvery);
await writeFile(settings.kubeconfig, kubeconfig(server));
process.stdout.write('ready\n');
for await (const line of createInterface({ input: process.stdin })) {
  const load = JSON.parse(line) as Load;
  for (let index = 0; index < followed(load); index++)
    server.history.put('slices', slice(index, [settings.backends[1]]));
  while ((await ask(clusterIp(followed(load) - 1))) !== settings.backends[1]) {
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  process.stdout.write(`${JSON.stringify(await run(server, load))}\n`);
}
process.exit(0);
