import { expect } from 'chai';
import { readFlags } from '../../lib/cli/flag.js';
import { readCommandLine } from '../../lib/cli/program.js';
import { RUN_FLAGS } from '../../lib/cli/run-flags.js';
import { checkSource, optionsFrom } from '../../lib/cli/run-options.js';

const environment = { nodeName: undefined, hostname: 'Host-1' };

/** Options and every fault of one command line of `run`. */
function read(...words: readonly string[]) {
  const line = readCommandLine(words);
  const faults = [...line.faults];
  const flags = readFlags(line.command, RUN_FLAGS, faults);
  const options = optionsFrom(flags, environment, faults);
  return { options, flags, faults, ignored: line.ignored };
}

describe('the flags of run', () => {
  it("have kube-proxy's defaults where the flag is kube-proxy's", () => {
    const { options, faults } = read();
    expect(faults).to.deep.equal([]);
    expect(options).to.deep.include({
      bindAddress: '0.0.0.0',
      healthzBindAddress: { host: '0.0.0.0', port: 10_256 },
      metricsBindAddress: { host: '127.0.0.1', port: 10_249 },
      syncPeriodMs: 30_000,
      minSyncPeriodMs: 1_000,
      configSyncPeriodMs: 900_000,
      kubeApiQps: 5,
      kubeApiBurst: 10,
      oomScoreAdj: -999,
      verbosity: 0,
      loggingFormat: 'text',
      nodePortAddresses: [],
      bindAddressHardFail: false,
    });
  });

  it('become frozen options', () => {
    const { options, faults } = read(
      ...[
        '--manifests',
        'a',
        'b',
        '--redirect=none',
        '--engine',
        'portable',
        '--relay-threads=2',
        '--dial-timeout=250ms',
      ],
      ...['--nodeport-addresses=10.0.0.0/8', '--nodeport-addresses', 'fd00::/8', '--proxy-port-range=21000+99', '-v4'],
      ...['--access-log', '-', '--udp-timeout=5s', '--bind-address-hard-fail', '--max_connections=7'],
    );
    expect(faults).to.deep.equal([]);
    expect(options).to.deep.include({
      manifests: ['a', 'b'],
      redirect: 'none',
      engine: 'portable',
      relayThreads: 2,
      dialTimeoutMs: 250,
      nodePortAddresses: ['10.0.0.0/8', 'fd00::/8'],
      proxyPortRange: { first: 21_000, last: 21_099 },
      verbosity: 4,
      accessLog: '-',
      udpTimeoutMs: 5_000,
      bindAddressHardFail: true,
      maxConnections: 7,
    });
    expect(Object.isFrozen(options)).to.equal(true);
  });

  it('report every fault of one command line at once, each with flag, value and expectation (C1)', () => {
    const { faults } = read(
      ...[
        '--udp-timeout=5x',
        '--relay-threads',
        '0',
        '--redirect=ipvs',
        '--no-such-flag',
        '--healthz-bind-address=:80',
      ],
      ...['--bind-address', 'eth0', '--cluster-cidr=10.0.0.0', '--feature-gates=A', '--iptables-sync-period=0'],
    );
    for (const [flag, value, expected] of [
      ['--udp-timeout', '5x', 'a duration'],
      ['--relay-threads', '0', 'a whole number from 1 to 64'],
      ['--redirect', 'ipvs', 'one of iptables, none'],
      ['--healthz-bind-address', ':80', 'address:port'],
      ['--bind-address', 'eth0', 'an IP address'],
      ['--cluster-cidr', '10.0.0.0', 'a block of addresses'],
      ['--feature-gates', 'A', 'Gate=true or Gate=false'],
      ['--iptables-sync-period', '0', 'more than 0'],
    ] as const) {
      const line = faults.find((fault) => fault.startsWith(`${flag}: "${value}": expected `));
      expect(line, `${flag} in ${faults.join('\n')}`).to.contain(expected);
    }
    expect(faults).to.include('"--no-such-flag": no such flag');
    expect(faults).to.have.length(9);
  });

  for (const [name, given, nodeName, expected] of [
    ['the flag', ['--hostname-override', ' Node-A '], 'node-b', 'node-a'],
    ['NODE_NAME', [], 'Node-B', 'node-b'],
    ['the host name', [], undefined, 'host-1'],
    ['the host name, where NODE_NAME is empty,', [], '', 'host-1'],
  ] as const) {
    it(`take ${name} as the name of the Node, in lower case`, () => {
      const line = readCommandLine(given);
      const flags = readFlags(line.command, RUN_FLAGS, []);
      expect(optionsFrom(flags, { nodeName, hostname: 'Host-1' }, []).nodeName).to.equal(expected);
    });
  }

  it('turn status servers off where the address or the port says so', () => {
    expect(read('--healthz-bind-address=').options.healthzBindAddress).to.equal(undefined);
    expect(read('--metrics-bind-address=0').options.metricsBindAddress).to.equal(undefined);
    expect(read('--healthz-port=0').options.healthzBindAddress).to.equal(undefined);
    expect(read('--metrics-port=0', '--metrics-bind-address=127.0.0.1:1').options.metricsBindAddress).to.equal(
      undefined,
    );
  });

  it('give a status server the deprecated port only where its address has none', () => {
    const port = (...words: string[]) => read(...words).options.healthzBindAddress?.port;
    expect(port('--healthz-port=1234')).to.equal(1234);
    expect(port('--healthz-port=1234', '--healthz-bind-address=127.0.0.1')).to.equal(1234);
    expect(port('--healthz-port=1234', '--healthz-bind-address=127.0.0.1:80')).to.equal(80);
  });

  it('put the status servers on IPv6 where --bind-address is, as kube-proxy does', () => {
    const { options } = read('--bind-address=::');
    expect(options.healthzBindAddress).to.deep.equal({ host: '::', port: 10_256 });
    expect(options.metricsBindAddress).to.deep.equal({ host: '::1', port: 10_249 });
  });

  it('refuse one address for both status servers, and a pause longer than the period (C1)', () => {
    const same = read('--healthz-bind-address=127.0.0.1:80', '--metrics-bind-address=127.0.0.1:80');
    expect(same.faults[0]).to.match(/^--metrics-bind-address: "127\.0\.0\.1:80": expected another address/);
    expect(read('--iptables-min-sync-period=31s').faults[0]).to.match(/^--iptables-min-sync-period: expected/);
  });

  it('accept userspace or nothing as the mode, and say what to run for the others', () => {
    expect(read('--proxy-mode=').faults).to.deep.equal([]);
    expect(read('--proxy-mode=userspace').faults).to.deep.equal([]);
    const [fault] = read('--proxy-mode=iptables').faults;
    expect(fault).to.match(/^--proxy-mode: "iptables": expected userspace: .* run kube-proxy$/);
  });

  it('name a source: manifests, a kubeconfig, an address, a list in the environment (C1)', () => {
    const faultsOf = (words: readonly string[], env: Record<string, string> = {}) => {
      const faults: string[] = [];
      checkSource(read(...words).flags, faults, env);
      return faults;
    };
    for (const words of [['--manifests=m'], ['--kubeconfig=k'], ['--master=https://192.0.2.1']]) {
      expect(faultsOf(words), words[0]).to.deep.equal([]);
    }
    expect(faultsOf([], { KUBECONFIG: 'k' })).to.deep.equal([]);
    const [fault, ...others] = faultsOf([]);
    expect(others).to.deep.equal([]);
    expect(fault).to.match(/^expected --manifests .* or an API server: --kubeconfig/);
  });

  // kubeadm's DaemonSet, k3s, and what an operator of each mode adds.
  it("accept a kube-proxy DaemonSet's arguments unchanged", () => {
    const { faults, ignored } = read(
      ...['--hostname-override=$(NODE_NAME)', '--v=2', '--cluster-cidr=10.42.0.0/16,fd42::/56', '--kubeconfig=/k'],
      ...[
        '--conntrack-max-per-core=0',
        '--conntrack-tcp-timeout-established=0s',
        '--masquerade-all',
        '--profiling=false',
      ],
      ...['--detect-local-mode', 'ClusterCIDR', '--ipvs-exclude-cidrs=10.0.0.0/8', '--ipvs-strict-arp=true'],
      ...['--iptables-localhost-nodeports=false', '--iptables_masquerade_bit=14', '--log_file_max_size', '1800'],
      ...[
        '--logtostderr=true',
        '--feature-gates=ServiceTrafficDistribution=true,KubeProxyDrainingTerminatingNodes=true',
      ],
      ...[
        '--show-hidden-metrics-for-version=1.30',
        '--vmodule=a=1',
        '--boot-id-file=/x',
        '--nodeport-addresses=primary',
      ],
      ...['--bind-address=0.0.0.0', '--healthz-bind-address=0.0.0.0', '--kube-api-content-type', 'application/json'],
    );
    expect(faults).to.deep.equal([]);
    expect(ignored).to.deep.equal([
      ...[
        'conntrack-max-per-core',
        'conntrack-tcp-timeout-established',
        'masquerade-all',
        'profiling',
        'detect-local-mode',
      ],
      ...['ipvs-exclude-cidrs', 'ipvs-strict-arp', 'iptables-localhost-nodeports', 'iptables-masquerade-bit'],
      ...['log-file-max-size', 'logtostderr', 'show-hidden-metrics-for-version', 'vmodule', 'boot-id-file'],
      'kube-api-content-type',
    ]);
  });
});

describe('commands', () => {
  it('stand first; run is the one where none does', () => {
    expect(readCommandLine([]).name).to.equal('run');
    expect(readCommandLine(['--v=1']).name).to.equal('run');
    expect(readCommandLine(['run', '--v=1']).name).to.equal('run');
    expect(readCommandLine(['demo']).name).to.equal('demo');
    expect(readCommandLine(['check', 'a.yaml', 'b.yaml']).operands).to.deep.equal(['a.yaml', 'b.yaml']);
  });

  for (const [words, fault] of [
    [['demoo'], '"demoo": no such command; did you mean demo?'],
    [['serve'], '"serve": no such command'],
    [['--v=1', 'demo'], '"demo": expected a flag; a command stands first: kproxy-us demo ...'],
    [['run', 'a.yaml'], '"a.yaml": expected a flag'],
    [['demo', '--manifests', 'a'], '"--manifests": no such flag'],
  ] as const) {
    it(`answer "${words.join(' ')}" with what is wrong (C1)`, () => {
      expect(readCommandLine(words).faults).to.include(fault);
    });
  }
});
