import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { HONOURED } from '../../lib/cli/config-file.js';
import { readCommandLine } from '../../lib/cli/program.js';
import { resolveRun } from '../../lib/cli/resolve-run.js';
import { RUN_FLAGS } from '../../lib/cli/run-flags.js';
import { configText, writeConfig } from '../../lib/cli/write-config.js';
import { FLAGS_OF_FIELDS } from '../../lib/config/kube-proxy-configuration-fields.js';

const HEAD = 'apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n';

describe('--config', () => {
  let dir: string;
  let file: string;

  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'kproxy-us-spec-'));
    file = join(dir, 'config.conf');
  });

  afterEach(() => rm(dir, { recursive: true }));

  const resolve = (...words: readonly string[]) =>
    resolveRun(readCommandLine(words), { nodeName: undefined, hostname: 'host-1' });

  async function read(text: string, ...words: readonly string[]) {
    await writeFile(file, text);
    return resolve('--config', file, ...words);
  }

  it("reads what kubeadm writes for kube-proxy: a kube-proxy DaemonSet's arguments and file work with the mode alone", async () => {
    const { options, config, faults } = await read(KUBEADM, '--hostname-override=Node-A', '--proxy-mode=userspace');
    expect(faults).to.deep.equal([]);
    expect(options).to.deep.include({
      kubeconfig: '/var/lib/kube-proxy/kubeconfig.conf',
      clusterCidrs: ['10.244.0.0/16'],
      nodeName: 'node-a',
      bindAddress: '0.0.0.0',
      healthzBindAddress: { host: '0.0.0.0', port: 10_256 },
      metricsBindAddress: { host: '127.0.0.1', port: 10_249 },
      kubeApiQps: 5,
      kubeApiBurst: 10,
      minSyncPeriodMs: 1_000,
      syncPeriodMs: 30_000,
      configSyncPeriodMs: 900_000,
      oomScoreAdj: -999,
    });
    expect(config).to.deep.equal({ path: file, overridden: [], unused: [], unknown: [] });
  });

  it('reads what an old kube-proxy wrote', async () => {
    const { options, config, faults } = await read(OLD);
    expect(faults).to.deep.equal([]);
    expect(options).to.deep.include({ udpTimeoutMs: 5_000, metricsBindAddress: { host: '0.0.0.0', port: 10_249 } });
    expect(config?.unknown).to.deep.equal([]);
    expect(config?.unused).to.deep.equal([
      ...['clientConnection.contentType', 'conntrack.maxPerCore', 'conntrack.min', 'conntrack.tcpCloseWaitTimeout'],
      ...['conntrack.tcpEstablishedTimeout', 'iptables.masqueradeBit', 'ipvs.minSyncPeriod', 'ipvs.scheduler'],
      ...['ipvs.syncPeriod', 'resourceContainer'],
    ]);
  });

  it('reads JSON', async () => {
    const text = JSON.stringify({ apiVersion: 'kubeproxy.config.k8s.io/v1alpha1', kind: 'KubeProxyConfiguration' });
    const { faults } = await read(text);
    expect(faults).to.deep.equal([]);
  });

  it('stands in for the flags it has fields for, and names those; the others count (C4)', async () => {
    const { options, config, faults } = await read(
      `${HEAD}bindAddress: 192.0.2.1\nlogging: {verbosity: 1}\nhostnameOverride: from-file\nudpIdleTimeout: 7s\n`,
      ...['--bind-address=192.0.2.2', '--kubeconfig=/k', '--cluster-cidr=10.0.0.0/8', '--healthz-port=0'],
      ...['--iptables-sync-period=5s', '-v4', '--hostname-override=from-flag', '--udp-timeout=8s', '--redirect=none'],
      ...['--manifests', 'm', '--master=https://192.0.2.3'],
    );
    expect(faults).to.deep.equal([]);
    expect(options).to.deep.include({
      bindAddress: '192.0.2.1',
      kubeconfig: undefined,
      clusterCidrs: [],
      healthzBindAddress: { host: '0.0.0.0', port: 10_256 },
      syncPeriodMs: 30_000,
      verbosity: 4,
      nodeName: 'from-flag',
      udpTimeoutMs: 8_000,
      redirect: 'none',
      manifests: ['m'],
      master: 'https://192.0.2.3',
    });
    expect(config?.overridden.toSorted()).to.deep.equal(
      ['bind-address', 'cluster-cidr', 'healthz-port', 'iptables-sync-period', 'kubeconfig'].toSorted(),
    );
  });

  it('names everything that is wrong as file:line:column, field, value and expectation, in the order of the file (C1)', async () => {
    const { faults } = await read(
      `${HEAD}mode: ipvs\niptables:\n  minSyncPeriod: 5x\n  syncPeriod: 30\nnodePortAddresses: [10.0.0.0/33]\n` +
        'healthzBindAddress: ":80"\nlogging:\n  verbosity: "4"\n  format: xml\n',
    );
    const [mode, ...others] = faults;
    expect(mode).to.equal(
      `${file}:3:7: mode: "ipvs": expected userspace: this program relays in userspace; for the modes of the kernel run kube-proxy` +
        '; write mode: userspace, or give --proxy-mode=userspace beside a file that other proxies read',
    );
    expect(others.map((fault) => fault.replace(`${file}:`, ''))).to.deep.equal([
      '5:18: iptables.minSyncPeriod: "5x": expected a duration such as 250ms, 1m30s or 1h',
      '6:15: iptables.syncPeriod: 30: expected a duration such as 250ms, 1m30s or 1h',
      '7:20: nodePortAddresses: "10.0.0.0/33": expected a block of addresses such as 10.0.0.0/8 or fd00::/64, or the single word primary',
      '10:14: logging.verbosity: "4": expected a whole number',
      '11:11: logging.format: "xml": expected one of text, json',
      '8:21: healthzBindAddress: ":80": expected address:port such as 127.0.0.1:10256 or [::1]:10256, or empty for none',
    ]);
  });

  it('names the place of a value that another one forbids (C1)', async () => {
    const { faults } = await read(`${HEAD}iptables:\n  minSyncPeriod: 31s\n`);
    expect(faults).to.deep.equal([
      `${file}:4:18: iptables.minSyncPeriod: expected a duration not longer than iptables.syncPeriod`,
    ]);
  });

  it('lets a mode of the kernel pass where --proxy-mode says otherwise', async () => {
    expect((await read(`${HEAD}mode: iptables\n`, '--proxy-mode=userspace')).faults).to.deep.equal([]);
    expect((await read(`${HEAD}mode: ""\n`)).faults).to.deep.equal([]);
    expect((await read(`${HEAD}mode: iptables\n`)).faults).to.have.length(1);
  });

  it('names unknown fields with their places, and goes on (C4)', async () => {
    const { config, faults } = await read(`${HEAD}bindAdress: "::"\nipvs:\n  "a\\nb": 1\n`);
    expect(faults).to.deep.equal([]);
    expect(config?.unknown).to.deep.equal([`${file}:3:13: bindAdress`, `${file}:5:11: ipvs["a\\nb"]`]);
  });

  for (const [what, text, message] of [
    ['a syntax error', 'kind: [\n', /config\.conf:\d+:\d+: expected YAML/],
    ['nothing', '# nothing\n', /config\.conf: expected one document, got 0$/],
    ['two documents', `${HEAD}---\n${HEAD}`, /config\.conf: expected one document, got 2$/],
    ['a list', '[]', /config\.conf:1:1: a list: expected an object of kind KubeProxyConfiguration$/],
    ['a field twice', `${HEAD}mode: ""\nmode: ""\n`, /config\.conf:4:1: expected "mode" once/],
  ] as const) {
    it(`refuses ${what} with its place (C1)`, async () => {
      const { faults } = await read(text);
      expect(faults).to.have.length(1);
      expect(faults[0]).to.match(message);
    });
  }

  it('refuses a file that is not there, and a directory (C1)', async () => {
    expect((await resolve('--config', file)).faults).to.deep.equal([`${file}: expected a file, got none`]);
    expect((await resolve('--config', dir)).faults).to.deep.equal([`${dir}: expected a file, got a directory`]);
  });

  it('keeps no cleanup from being done', async () => {
    expect((await read('kind: [', '--cleanup')).faults).to.deep.equal([]);
  });

  it('has a field only for flags that there are', () => {
    const unknown = [...FLAGS_OF_FIELDS, ...HONOURED].filter((flag) => !Object.hasOwn(RUN_FLAGS, flag));
    expect(unknown).to.deep.equal([]);
  });
});

describe('--write-config-to', () => {
  let dir: string;

  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'kproxy-us-spec-'));
  });

  afterEach(() => rm(dir, { recursive: true }));

  const resolve = (...words: readonly string[]) =>
    resolveRun(readCommandLine(words), { nodeName: undefined, hostname: 'host-1' });

  for (const words of [
    [],
    ['--bind-address=::', '--hostname-override=a', '--kubeconfig=/k', '--cluster-cidr=10.0.0.0/8,fd00::/8'],
    ['--healthz-bind-address=', '--metrics-port=1', '--iptables-min-sync-period=0', '--iptables-sync-period=1h'],
    ['--nodeport-addresses=primary', '--feature-gates=A=true,B=false', '--oom-score-adj=0', '--kube-api-qps=0.5'],
    ['--proxy-port-range=21000', '--udp-timeout=1500ms', '-v7', '--logging-format=json', '--bind-address-hard-fail'],
  ] as const) {
    it(`writes a file that --config reads as the same options: ${words.join(' ')}`, async () => {
      const file = join(dir, 'written.yaml');
      const written = await resolve(...words);
      await writeFile(file, configText(written));
      const { options, config, faults } = await resolve('--config', file);
      expect(faults).to.deep.equal([]);
      expect(config).to.deep.include({ unused: [], unknown: [] });
      // The shortest of all pauses: in a file 0 is the default.
      const minSyncPeriodMs = Math.round(options.minSyncPeriodMs);
      expect({ ...options, minSyncPeriodMs }).to.deep.equal(written.options);
    });
  }

  it('ends with 1 where it cannot write, and with 0 where it has', async () => {
    const resolved = await resolve('--write-config-to=x');
    const output = process.stdout.write;
    const errors = process.stderr.write;
    let said = '';
    process.stdout.write = process.stderr.write = (text: string | Uint8Array) => {
      said += String(text);
      return true;
    };
    try {
      expect(await writeConfig(join(dir, 'a/b'), resolved)).to.equal(1);
      expect(await writeConfig(join(dir, 'a'), resolved)).to.equal(0);
    } finally {
      process.stdout.write = output;
      process.stderr.write = errors;
    }
    expect(said).to.match(/^error: --write-config-to: .*ENOENT/);
    expect(await readFile(join(dir, 'a'), 'utf8')).to.match(/^apiVersion: kubeproxy\.config\.k8s\.io\/v1alpha1\n/);
  });
});

/** As kubeadm 1.30 to 1.36 writes it into the ConfigMap kube-proxy. */
const KUBEADM = `apiVersion: kubeproxy.config.k8s.io/v1alpha1
bindAddress: 0.0.0.0
bindAddressHardFail: false
clientConnection:
  acceptContentTypes: ""
  burst: 0
  contentType: ""
  kubeconfig: /var/lib/kube-proxy/kubeconfig.conf
  qps: 0
clusterCIDR: 10.244.0.0/16
configSyncPeriod: 0s
conntrack:
  maxPerCore: null
  min: null
  tcpBeLiberal: false
  tcpCloseWaitTimeout: null
  tcpEstablishedTimeout: null
  udpStreamTimeout: 0s
  udpTimeout: 0s
detectLocal:
  bridgeInterface: ""
  interfaceNamePrefix: ""
detectLocalMode: ""
enableProfiling: false
healthzBindAddress: ""
hostnameOverride: ""
iptables:
  localhostNodePorts: null
  masqueradeAll: false
  masqueradeBit: null
  minSyncPeriod: 0s
  syncPeriod: 0s
ipvs:
  excludeCIDRs: null
  minSyncPeriod: 0s
  scheduler: ""
  strictARP: false
  syncPeriod: 0s
  tcpFinTimeout: 0s
  tcpTimeout: 0s
  udpTimeout: 0s
kind: KubeProxyConfiguration
logging:
  flushFrequency: 0
  options:
    json:
      infoBufferSize: "0"
    text:
      infoBufferSize: "0"
  verbosity: 0
metricsBindAddress: ""
mode: iptables
nftables:
  masqueradeAll: false
  masqueradeBit: null
  minSyncPeriod: 0s
  syncPeriod: 0s
nodePortAddresses: null
oomScoreAdj: null
portRange: ""
showHiddenMetricsForVersion: ""
winkernel:
  enableDSR: false
  forwardHealthCheckVip: false
  networkName: ""
  rootHnsEndpointName: ""
  sourceVip: ""
`;

/** From a guide for Kubernetes 1.13. */
const OLD = `apiVersion: kubeproxy.config.k8s.io/v1alpha1
bindAddress: 0.0.0.0
clientConnection:
  acceptContentTypes: ""
  burst: 10
  contentType: application/vnd.kubernetes.protobuf
  kubeconfig: /etc/kubernetes/kube-proxy.kubeconfig
  qps: 5
clusterCIDR: 10.244.0.0/16
configSyncPeriod: 15m0s
conntrack:
  max: null
  maxPerCore: 32768
  min: 131072
  tcpCloseWaitTimeout: 1h0m0s
  tcpEstablishedTimeout: 24h0m0s
enableProfiling: false
healthzBindAddress: 0.0.0.0:10256
hostnameOverride: ""
iptables:
  masqueradeAll: false
  masqueradeBit: 14
  minSyncPeriod: 0s
  syncPeriod: 30s
ipvs:
  minSyncPeriod: 5s
  scheduler: "rr"
  syncPeriod: 30s
kind: KubeProxyConfiguration
metricsBindAddress: 0.0.0.0:10249
mode: "userspace"
nodePortAddresses: null
oomScoreAdj: -999
portRange: ""
resourceContainer: /kube-proxy
udpIdleTimeout: 5s
`;
