/** Owns a directory for one spec, and manifests to put into it. */
import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Made before each spec of the suite and removed after it. */
export function tempDir(): (...names: string[]) => string {
  let path = '';
  beforeEach(async () => {
    path = await mkdtemp(join(tmpdir(), 'kproxy-us-manifests-'));
  });
  afterEach(() => rm(path, { recursive: true, force: true }));
  return (...names) => join(path, ...names);
}

/** As careful editors save. */
export async function replaceFile(file: string, text: string): Promise<void> {
  await writeFile(`${file}.tmp`, text);
  await rename(`${file}.tmp`, file);
}

export function service(name: string, port = 80): string {
  return `apiVersion: v1
kind: Service
metadata:
  name: ${name}
spec:
  ports:
    - port: ${port}
`;
}

export function slice(name: string, ...addresses: readonly string[]): string {
  return `apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: ${name}-1
  labels:
    kubernetes.io/service-name: ${name}
addressType: IPv4
ports:
  - port: 8080
endpoints:
${addresses.map((address) => `  - addresses: ["${address}"]\n`).join('')}`;
}

export function documents(...all: readonly string[]): string {
  return all.join('---\n');
}
