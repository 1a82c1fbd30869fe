import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { parseAllDocuments } from 'yaml';
import { readCommandLine } from '../../lib/cli/program.js';
import { resolveRun } from '../../lib/cli/resolve-run.js';
import { loadAccess } from '../../lib/source/api/access.js';
import { endpointSlices, ownNode, services } from '../../lib/source/api/resource.js';
import { ApiServer } from '../support/api-server/api-server.js';
import { ROOT } from '../support/proxy.js';

interface Rule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly verbs: readonly string[];
}

interface Probe {
  readonly httpGet: { readonly path: string; readonly port: number };
}

interface Container {
  readonly args: readonly string[];
  readonly env: readonly { readonly name: string; readonly valueFrom: unknown }[];
  readonly securityContext: { readonly capabilities: unknown };
  readonly livenessProbe: Probe;
  readonly readinessProbe: Probe;
  readonly volumeMounts: readonly { readonly name: string; readonly mountPath: string }[];
}

interface Template {
  readonly metadata: { readonly labels: object; readonly annotations: Readonly<Record<string, string>> };
  readonly spec: {
    readonly hostNetwork: boolean;
    readonly serviceAccountName: string;
    readonly priorityClassName: string;
    readonly terminationGracePeriodSeconds: number;
    readonly containers: readonly Container[];
    readonly volumes: readonly { readonly name: string; readonly configMap?: { readonly name: string } }[];
  };
}

interface Manifest {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly rules: readonly Rule[];
  readonly roleRef: { readonly kind: string; readonly name: string };
  readonly subjects: readonly { readonly kind: string; readonly name: string; readonly namespace: string }[];
  readonly data: Readonly<Record<string, string>>;
  readonly spec: { readonly selector: { readonly matchLabels: object }; readonly template: Template };
}

describe('examples/daemonset', () => {
  let dir: string;
  let documents: readonly Manifest[];

  before(async () => {
    const text = await readFile(join(ROOT, 'examples/daemonset/kproxy-us.yaml'), 'utf8');
    const parsed = parseAllDocuments(text);
    expect(parsed.flatMap(({ errors, warnings }) => [...errors, ...warnings])).to.deep.equal([]);
    documents = parsed.map((document) => document.toJS() as Manifest);
    dir = await mkdtemp(join(tmpdir(), 'kproxy-us-spec-'));
  });

  after(() => rm(dir, { recursive: true }));

  function one(kind: string): Manifest {
    const found = documents.find((document) => document.kind === kind);
    if (found === undefined) throw new Error(`no ${kind}`);
    return found;
  }

  function container(): Container {
    const [first] = one('DaemonSet').spec.template.spec.containers;
    if (first === undefined) throw new Error('no container');
    return first;
  }

  /** As the program reads it in the pod. */
  async function resolved() {
    const { args, volumeMounts } = container();
    const mount = volumeMounts.find(({ name }) => name === 'config')?.mountPath ?? '?';
    for (const [name, text] of Object.entries(one('ConfigMap').data)) {
      await writeFile(join(dir, name), text.replaceAll(mount, dir));
    }
    const words = args.map((arg) => arg.replace(mount, dir).replace('$(NODE_NAME)', 'node-a'));
    return resolveRun(readCommandLine(words), { nodeName: undefined, hostname: 'host-1' });
  }

  it('gives arguments and a configuration that the program takes without a fault or a warning', async () => {
    const { options, config, faults } = await resolved();
    expect(faults).to.deep.equal([]);
    expect(config).to.deep.include({ overridden: [], unused: [], unknown: [] });
    expect(options).to.deep.include({
      nodeName: 'node-a',
      kubeconfig: join(dir, 'kubeconfig.yaml'),
      redirect: 'iptables',
    });
    expect(container().env.map(({ name, valueFrom }) => [name, valueFrom])).to.deep.equal([
      ['NODE_NAME', { fieldRef: { fieldPath: 'spec.nodeName' } }],
    ]);
  });

  it('gives the kubeconfig of a service account', async () => {
    const server = await ApiServer.start();
    await server.close();
    await writeFile(join(dir, 'ca.crt'), server.ca);
    await writeFile(join(dir, 'token'), 'secret');
    const text = one('ConfigMap').data['kubeconfig.yaml'] ?? '';
    const file = join(dir, 'kubeconfig');
    await writeFile(file, text.replaceAll('/var/run/secrets/kubernetes.io/serviceaccount', dir));
    const access = await loadAccess({ kubeconfig: file, master: undefined, env: {} });
    expect(access.server.protocol).to.equal('https:');
    expect(access.user.tokenFile).to.equal(join(dir, 'token'));
  });

  it('asks where the servers answer', async () => {
    const { options } = await resolved();
    const { livenessProbe, readinessProbe } = container();
    expect(livenessProbe.httpGet).to.deep.equal({ path: '/livez', port: options.healthzBindAddress?.port });
    expect(readinessProbe.httpGet).to.deep.equal({ path: '/healthz', port: options.healthzBindAddress?.port });
    const { annotations } = one('DaemonSet').spec.template.metadata;
    expect(annotations).to.include({
      'prometheus.io/port': `${options.metricsBindAddress?.port}`,
      'prometheus.io/path': '/metrics',
    });
    expect(options.metricsBindAddress?.host).to.equal('0.0.0.0');
  });

  it('leaves more time to end than draining takes', async () => {
    const { options } = await resolved();
    const { terminationGracePeriodSeconds } = one('DaemonSet').spec.template.spec;
    expect(terminationGracePeriodSeconds * 1_000).to.be.greaterThan(options.drainTimeoutMs + 5_000);
  });

  it('allows what the program does at the API server, and nothing else', () => {
    const allowed = one('ClusterRole').rules.flatMap(({ apiGroups, resources, verbs }) =>
      apiGroups.flatMap((group) =>
        resources.flatMap((resource) =>
          verbs.map((verb) => `${verb} ${group === '' ? resource : `${resource}.${group}`}`),
        ),
      ),
    );
    const followed = [services(undefined), endpointSlices(undefined), ownNode('node-a')];
    const needed = followed.flatMap(({ name }) => [`list ${name}`, `watch ${name}`]);
    expect(allowed.toSorted()).to.deep.equal([...needed, 'create events.events.k8s.io'].toSorted());
  });

  it('names one account, one role and one ConfigMap everywhere', () => {
    const { metadata } = one('ServiceAccount');
    const binding = one('ClusterRoleBinding');
    expect(binding.subjects).to.deep.equal([{ kind: 'ServiceAccount', ...metadata }]);
    expect(binding.roleRef).to.include({ kind: 'ClusterRole', name: one('ClusterRole').metadata.name });
    const { template, selector } = one('DaemonSet').spec;
    expect(template.spec.serviceAccountName).to.equal(metadata.name);
    expect(template.spec.volumes.find(({ name }) => name === 'config')?.configMap).to.deep.equal({
      name: one('ConfigMap').metadata.name,
    });
    expect(template.metadata.labels).to.deep.include(selector.matchLabels);
    expect(documents.filter(({ kind }) => !kind.startsWith('Cluster')).map((d) => d.metadata.namespace)).to.deep.equal(
      Array(3).fill('kube-system'),
    );
  });

  it('runs in the network of the node with one capability', () => {
    const { hostNetwork, priorityClassName } = one('DaemonSet').spec.template.spec;
    expect({ hostNetwork, priorityClassName }).to.deep.equal({
      hostNetwork: true,
      priorityClassName: 'system-node-critical',
    });
    expect(container().securityContext).to.deep.include({
      readOnlyRootFilesystem: true,
      allowPrivilegeEscalation: false,
      capabilities: { drop: ['ALL'], add: ['NET_ADMIN'] },
    });
  });
});
