/** Owns kproxy-us as a contender: the built program, one NodePort Service per route, one relay thread. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Forwarder, listening } from '../forwarder.js';
import type { Route } from '../stage.js';

const PROGRAM = fileURLToPath(new URL('../../bin/kproxy-us.js', import.meta.url));

export const kproxyUsNative = contender('kproxy-us', 'native');
export const kproxyUsPortable = contender('kproxy-us-portable', 'portable');

function contender(name: string, engine: 'native' | 'portable'): Forwarder {
  return {
    name,
    about: `\`--engine ${engine} --relay-threads 1 --redirect none\`, NodePort Services`,
    protocols: ['TCP', 'UDP'],
    needs: [],
    async start(stage) {
      const routes = Object.values(stage.routes);
      const manifests = join(stage.dir, 'manifests');
      await mkdir(manifests, { recursive: true });
      await Promise.all(routes.map((route, i) => writeFile(join(manifests, `${route.name}.json`), manifest(route, i))));
      const engineFlags = ['--engine', engine, '--relay-threads', '1', '--redirect', 'none'];
      const flags = ['--manifests', manifests, '--hostname-override', 'node', ...engineFlags];
      const child = stage.lab.ns.node.spawn(process.execPath, [PROGRAM, 'run', ...flags]);
      return listening(stage, child, routes);
    },
  };
}

/** A Service and its slice, as `kubectl get -o json` gives them. */
function manifest({ name, protocol, port, backends }: Route, i: number): string {
  const ports = [{ name: '', protocol, port, targetPort: backends[0]?.port, nodePort: port }];
  const service = {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { namespace: 'bench', name },
    spec: {
      type: 'NodePort',
      clusterIP: `10.96.0.${i + 10}`,
      clusterIPs: [`10.96.0.${i + 10}`],
      ipFamilies: ['IPv4'],
      ports,
    },
  };
  const slice = {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { namespace: 'bench', name: `${name}-1`, labels: { 'kubernetes.io/service-name': name } },
    addressType: 'IPv4',
    ports: [{ name: '', protocol, port: backends[0]?.port }],
    endpoints: backends.map(({ host }) => ({ addresses: [host], conditions: { ready: true }, nodeName: 'node' })),
  };
  return JSON.stringify({ apiVersion: 'v1', kind: 'List', items: [service, slice] }, undefined, 2);
}
