import { expect } from 'chai';
import { API_VERSION, configurationOf, KIND, readConfiguration } from '../../lib/config/kube-proxy-configuration.js';
import { FLAGS_OF_FIELDS, fieldOf } from '../../lib/config/kube-proxy-configuration-fields.js';

const configuration = (fields: object) => ({ apiVersion: API_VERSION, kind: KIND, ...fields });

/** Texts by flag. */
function textsOf(fields: object) {
  const { given, faults } = readConfiguration(configuration(fields));
  expect(faults).to.deep.equal([]);
  return Object.fromEntries(given.map(({ flag, text }) => [flag, text]));
}

describe('a KubeProxyConfiguration (C4)', () => {
  for (const [fields, flag, text] of [
    [{ bindAddress: '::' }, 'bind-address', '::'],
    [{ bindAddressHardFail: true }, 'bind-address-hard-fail', 'true'],
    [{ clientConnection: { kubeconfig: '/k' } }, 'kubeconfig', '/k'],
    [{ clientConnection: { qps: 2.5 } }, 'kube-api-qps', '2.5'],
    [{ clientConnection: { burst: 20 } }, 'kube-api-burst', '20'],
    [{ clusterCIDR: '10.0.0.0/8,fd00::/8' }, 'cluster-cidr', '10.0.0.0/8,fd00::/8'],
    [{ configSyncPeriod: '1m' }, 'config-sync-period', '1m'],
    [{ featureGates: { A: true, B: false } }, 'feature-gates', 'A=true,B=false'],
    [{ healthzBindAddress: '0.0.0.0:1' }, 'healthz-bind-address', '0.0.0.0:1'],
    [{ hostnameOverride: 'n' }, 'hostname-override', 'n'],
    [{ iptables: { syncPeriod: '5s' } }, 'iptables-sync-period', '5s'],
    [{ iptables: { minSyncPeriod: '2s' } }, 'iptables-min-sync-period', '2s'],
    [{ logging: { format: 'json' } }, 'logging-format', 'json'],
    [{ logging: { verbosity: 4 } }, 'v', '4'],
    [{ metricsBindAddress: '127.0.0.1:1' }, 'metrics-bind-address', '127.0.0.1:1'],
    [{ mode: 'userspace' }, 'proxy-mode', 'userspace'],
    [{ nodePortAddresses: ['10.0.0.0/8', 'fd00::/8'] }, 'nodeport-addresses', '10.0.0.0/8,fd00::/8'],
    [{ oomScoreAdj: 0 }, 'oom-score-adj', '0'],
    [{ portRange: '20000-20099' }, 'proxy-port-range', '20000-20099'],
    [{ udpIdleTimeout: '5s' }, 'udp-timeout', '5s'],
  ] as const) {
    it(`says by ${JSON.stringify(fields)} what --${flag}=${text} says`, () => {
      expect(textsOf(fields)).to.deep.equal({ [flag]: text });
    });
  }

  it('takes what is empty or zero as the default, as Go does, in every field but oomScoreAdj', () => {
    const zeros = {
      bindAddress: '',
      bindAddressHardFail: false,
      clientConnection: { acceptContentTypes: '', burst: 0, contentType: '', kubeconfig: '', qps: 0 },
      configSyncPeriod: '0s',
      conntrack: { maxPerCore: null, tcpBeLiberal: false, tcpCloseWaitTimeout: null, udpTimeout: '0h0m0s' },
      detectLocal: { bridgeInterface: '', interfaceNamePrefix: '' },
      featureGates: {},
      iptables: { masqueradeBit: null, minSyncPeriod: '0s', syncPeriod: '0s' },
      ipvs: { excludeCIDRs: null, strictARP: false, tcpTimeout: '0' },
      logging: {
        flushFrequency: 0,
        options: { json: { infoBufferSize: '0' }, text: { splitStream: false } },
        verbosity: 0,
      },
      nodePortAddresses: null,
      nftables: null,
      winkernel: { enableDSR: false, networkName: '' },
    };
    const { given, unused, unknown, faults } = readConfiguration(configuration(zeros));
    expect({ given, unused, unknown, faults }).to.deep.equal({ given: [], unused: [], unknown: [], faults: [] });
  });

  it('names the fields of other modes that say something, and the unknown ones', () => {
    const { unused, unknown, faults } = readConfiguration(
      configuration({
        ipvs: { scheduler: 'rr', shedule: 'rr' },
        iptables: { masqueradeAll: true },
        conntrack: { maxPerCore: 32_768 },
        'iptables.syncPeriod': '5s',
        bindAdress: '::',
        toString: 1,
      }),
    );
    expect(faults).to.deep.equal([]);
    expect(unused).to.deep.equal([
      ['ipvs', 'scheduler'],
      ['iptables', 'masqueradeAll'],
      ['conntrack', 'maxPerCore'],
    ]);
    expect(unknown).to.deep.equal([['ipvs', 'shedule'], ['iptables.syncPeriod'], ['bindAdress'], ['toString']]);
  });

  for (const [fields, path, message] of [
    [{ bindAddress: 5 }, ['bindAddress'], '5: expected a text'],
    [{ clientConnection: { qps: '5' } }, ['clientConnection', 'qps'], '"5": expected a number'],
    [{ bindAddressHardFail: 'yes' }, ['bindAddressHardFail'], '"yes": expected true or false'],
    [
      { iptables: { syncPeriod: 30 } },
      ['iptables', 'syncPeriod'],
      '30: expected a duration such as 250ms, 1m30s or 1h',
    ],
    [{ iptables: 'x' }, ['iptables'], '"x": expected an object'],
    [{ ipvs: [] }, ['ipvs'], 'a list: expected an object'],
    [{ nodePortAddresses: 'primary' }, ['nodePortAddresses'], '"primary": expected a list of texts'],
    [{ featureGates: { A: 'true' } }, ['featureGates'], 'an object: expected names with true or false each'],
    [{ ipvs: { strictARP: 1 } }, ['ipvs', 'strictARP'], '1: expected true or false'],
  ] as const) {
    it(`refuses ${JSON.stringify(fields)} (C1)`, () => {
      expect(readConfiguration(configuration(fields)).faults).to.deep.equal([{ path, message }]);
    });
  }

  it('refuses another kind or version, and says nothing of fields that then mean nothing', () => {
    const { faults, unknown } = readConfiguration({ apiVersion: 'v1', kind: 'ConfigMap', data: {} });
    expect(unknown).to.deep.equal([]);
    expect(faults).to.deep.equal([
      { path: ['apiVersion'], message: '"v1": expected kubeproxy.config.k8s.io/v1alpha1' },
      { path: ['kind'], message: '"ConfigMap": expected KubeProxyConfiguration' },
    ]);
    expect(readConfiguration(null).faults[0]?.message).to.match(/^null: expected an object/);
    expect(readConfiguration({}).faults[0]?.message).to.match(/^nothing: expected kubeproxy/);
  });

  it('has one field for each flag', () => {
    const fields = [...FLAGS_OF_FIELDS].map(fieldOf);
    expect(new Set(fields).size).to.equal(FLAGS_OF_FIELDS.size);
    expect(fields).to.include('iptables.syncPeriod').and.not.include(undefined);
  });

  it('is written so that no pause stays no pause, where 0 would mean the default', () => {
    const values: Readonly<Record<string, unknown>> = { 'iptables-min-sync-period': 0, v: 2 };
    expect(configurationOf((flag) => values[flag])).to.deep.equal(
      configuration({ iptables: { minSyncPeriod: '1ns' }, logging: { verbosity: 2 } }),
    );
  });
});
