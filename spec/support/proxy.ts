/** Owns running the built program in a namespace of a lab, and the manifest folders it reads. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Child } from './lab/child.js';
import type { Namespace } from './lab/namespace.js';

/** The built program. */
export const PROGRAM = fileURLToPath(new URL('../../bin/kproxy-us.js', import.meta.url));

/** The top of the checkout. */
export const ROOT = fileURLToPath(new URL('../../../', import.meta.url));

/** Starts the program; resolves when its first sync is applied. */
export async function startProxy(space: Namespace, ...args: readonly string[]): Promise<Child> {
  const child = space.spawn(process.execPath, [PROGRAM, ...args]);
  await child.waitFor(/ ready /, 20_000);
  return child;
}

/** A folder for manifests that its `remove` deletes. */
export class ManifestDir {
  private constructor(readonly path: string) {}

  static async create(): Promise<ManifestDir> {
    return new ManifestDir(await mkdtemp(join(tmpdir(), 'kproxy-us-spec-')));
  }

  /** Replaces one file whole, as an editor does. */
  async write(name: string, content: string | readonly object[]): Promise<void> {
    const text = typeof content === 'string' ? content : content.map((one) => JSON.stringify(one)).join('\n---\n');
    await writeFile(join(this.path, name), text);
  }

  async delete(name: string): Promise<void> {
    await rm(join(this.path, name));
  }

  async remove(): Promise<void> {
    await rm(this.path, { recursive: true, force: true });
  }
}

export interface ServiceManifest {
  readonly name: string;
  readonly clusterIPs?: readonly string[];
  readonly ports: readonly { name?: string; port: number; protocol?: string; nodePort?: number }[];
  readonly spec?: Readonly<Record<string, unknown>>;
}

/** A Service of namespace `e2e`, as the API server would show it. */
export function serviceManifest({ name, clusterIPs, ports, spec }: ServiceManifest): object {
  const type = ports.some(({ nodePort }) => nodePort !== undefined) ? 'NodePort' : 'ClusterIP';
  const ips = clusterIPs === undefined ? {} : { clusterIP: clusterIPs[0], clusterIPs };
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace: 'e2e' },
    spec: { type, ...ips, ports, ...spec },
  };
}

/** The slice of a Service in one family; every endpoint is ready. */
export function sliceManifest(
  service: string,
  addresses: readonly string[],
  ports: readonly { name?: string; port: number; protocol?: string }[],
): object {
  const six = addresses.some((address) => address.includes(':'));
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      name: `${service}-${six ? 'six' : 'four'}`,
      namespace: 'e2e',
      labels: { 'kubernetes.io/service-name': service },
    },
    addressType: six ? 'IPv6' : 'IPv4',
    ports: ports.map((port) => ({ name: '', ...port })),
    endpoints: addresses.map((address) => ({ addresses: [address], conditions: { ready: true } })),
  };
}
