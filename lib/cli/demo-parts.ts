/**
 * Owns what the demo puts around the proxy: backends as child processes, manifests in a temporary folder, free ports.
 *
 *   fork -> port -> Service and EndpointSlices as YAML files -> the daemon reads and watches them
 */
import { type ChildProcess, fork } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const HOST = '127.0.0.1';
const PROGRAM = fileURLToPath(new URL('./demo-backend.js', import.meta.url));

/** One backend that runs; `stop` ends it and resolves when it has ended. */
export class DemoBackend {
  private constructor(
    readonly name: string,
    readonly port: number,
    readonly child: ChildProcess,
  ) {}

  /** `onEnd` is called when it ends by itself or is killed, not by `stop`. */
  static async start(kind: 'http' | 'udp', name: string, onEnd: (name: string) => void): Promise<DemoBackend> {
    const child = fork(PROGRAM, [kind, name], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'], execArgv: [] });
    const port = await new Promise<number>((resolve, reject) => {
      child.once('message', (message: { readonly port: number }) => resolve(message.port));
      child.once('error', reject);
      child.once('exit', () => reject(new Error(`demo backend ${name} ended at its start`)));
    });
    const backend = new DemoBackend(name, port, child);
    child.on('exit', () => {
      if (!backend.#stopping) onEnd(name);
    });
    return backend;
  }

  #stopping = false;

  get pid(): number {
    return this.child.pid ?? 0;
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const ended = new Promise((resolve) => this.child.once('exit', resolve));
    this.child.kill('SIGTERM');
    await ended;
  }
}

export interface DemoService {
  readonly name: string;
  readonly protocol: 'TCP' | 'UDP';
  readonly nodePort: number;
  readonly backends: readonly DemoBackend[];
}

/** The folder that a user may edit while the proxy watches it. */
export class DemoManifests {
  private constructor(readonly path: string) {}

  static async create(): Promise<DemoManifests> {
    return new DemoManifests(await mkdtemp(join(tmpdir(), 'kproxy-us-demo-')));
  }

  file(name: string): string {
    return join(this.path, `${name}.yaml`);
  }

  /** A file for the Service, and one for each of its slices: one backend each, since their ports differ. */
  async write(service: DemoService): Promise<void> {
    await writeFile(this.file(service.name), serviceYaml(service));
    for (const backend of service.backends) await writeFile(this.file(backend.name), sliceYaml(service, backend));
  }

  async remove(): Promise<void> {
    await rm(this.path, { recursive: true, force: true });
  }
}

function serviceYaml({ name, protocol, nodePort }: DemoService): string {
  return `apiVersion: v1
kind: Service
metadata:
  name: ${name}
spec:
  type: NodePort
  ports:
    - protocol: ${protocol}
      port: 80
      nodePort: ${nodePort}
`;
}

function sliceYaml({ name, protocol }: DemoService, backend: DemoBackend): string {
  return `apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: ${backend.name}
  labels:
    kubernetes.io/service-name: ${name}
addressType: IPv4
ports:
  - name: ""
    protocol: ${protocol}
    port: ${backend.port}
endpoints:
  - addresses: [${HOST}]
    conditions:
      ready: true
`;
}

/** The port wished for where it is free, else one that is. */
export async function freePort(protocol: 'TCP' | 'UDP', wished: number): Promise<number> {
  const probe = protocol === 'TCP' ? probeTcp : probeUdp;
  return (await probe(wished)) ?? (await probe(0)) ?? wished;
}

function probeTcp(port: number): Promise<number | undefined> {
  return new Promise((resolve) => {
    const server = createServer().once('error', () => resolve(undefined));
    server.listen({ host: HOST, port, exclusive: true }, () => {
      const address = server.address();
      server.close(() => resolve(address !== null && typeof address === 'object' ? address.port : undefined));
    });
  });
}

function probeUdp(port: number): Promise<number | undefined> {
  return new Promise((resolve) => {
    const socket = createSocket('udp4').once('error', () => resolve(undefined));
    socket.bind({ address: HOST, port, exclusive: true }, () => {
      const bound = socket.address().port;
      socket.close(() => resolve(bound));
    });
  });
}
