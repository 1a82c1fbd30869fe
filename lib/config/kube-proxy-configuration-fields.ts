/**
 * Owns the fields of KubeProxyConfiguration: their names, their types, and which flag each stands for.
 *
 *   FIELDS -> kube-proxy-configuration.ts reads and writes files by it
 *
 * They are those of kube-proxy 1.10 to 1.36: staging/src/k8s.io/kube-proxy/config/v1alpha1/types.go.
 */

export type FieldType = 'text' | 'number' | 'whole' | 'boolean' | 'duration' | 'texts' | 'booleans' | 'any';

export interface Field {
  readonly type: FieldType;
  /** The flag that means the same; undefined: the field has no effect here. */
  readonly flag?: string;
  /** 0 is a value: elsewhere Go's zero values stand for the default. */
  readonly zeroCounts?: true;
}

/** In the order in which kube-proxy writes them. */
export const FIELDS: Readonly<Record<string, Field>> = {
  bindAddress: { type: 'text', flag: 'bind-address' },
  bindAddressHardFail: { type: 'boolean', flag: 'bind-address-hard-fail' },
  'clientConnection.acceptContentTypes': { type: 'text' },
  'clientConnection.burst': { type: 'whole', flag: 'kube-api-burst' },
  'clientConnection.contentType': { type: 'text' },
  'clientConnection.kubeconfig': { type: 'text', flag: 'kubeconfig' },
  'clientConnection.qps': { type: 'number', flag: 'kube-api-qps' },
  clusterCIDR: { type: 'text', flag: 'cluster-cidr' },
  configSyncPeriod: { type: 'duration', flag: 'config-sync-period' },
  'conntrack.max': { type: 'whole' },
  'conntrack.maxPerCore': { type: 'whole' },
  'conntrack.min': { type: 'whole' },
  'conntrack.tcpBeLiberal': { type: 'boolean' },
  'conntrack.tcpCloseWaitTimeout': { type: 'duration' },
  'conntrack.tcpEstablishedTimeout': { type: 'duration' },
  'conntrack.udpStreamTimeout': { type: 'duration' },
  'conntrack.udpTimeout': { type: 'duration' },
  'detectLocal.bridgeInterface': { type: 'text' },
  'detectLocal.interfaceNamePrefix': { type: 'text' },
  detectLocalMode: { type: 'text' },
  enableProfiling: { type: 'boolean' },
  featureGates: { type: 'booleans', flag: 'feature-gates' },
  healthzBindAddress: { type: 'text', flag: 'healthz-bind-address' },
  hostnameOverride: { type: 'text', flag: 'hostname-override' },
  'iptables.localhostNodePorts': { type: 'boolean' },
  'iptables.masqueradeAll': { type: 'boolean' },
  'iptables.masqueradeBit': { type: 'whole' },
  'iptables.minSyncPeriod': { type: 'duration', flag: 'iptables-min-sync-period' },
  'iptables.snatNodeInternalIP': { type: 'boolean' },
  'iptables.syncPeriod': { type: 'duration', flag: 'iptables-sync-period' },
  'ipvs.excludeCIDRs': { type: 'texts' },
  'ipvs.minSyncPeriod': { type: 'duration' },
  'ipvs.scheduler': { type: 'text' },
  'ipvs.strictARP': { type: 'boolean' },
  'ipvs.syncPeriod': { type: 'duration' },
  'ipvs.tcpFinTimeout': { type: 'duration' },
  'ipvs.tcpTimeout': { type: 'duration' },
  'ipvs.udpTimeout': { type: 'duration' },
  'logging.flushFrequency': { type: 'any' },
  'logging.format': { type: 'text', flag: 'logging-format' },
  'logging.options': { type: 'any' },
  'logging.verbosity': { type: 'whole', flag: 'v' },
  'logging.vmodule': { type: 'any' },
  metricsBindAddress: { type: 'text', flag: 'metrics-bind-address' },
  mode: { type: 'text', flag: 'proxy-mode' },
  'nftables.masqueradeAll': { type: 'boolean' },
  'nftables.masqueradeBit': { type: 'whole' },
  'nftables.minSyncPeriod': { type: 'duration' },
  'nftables.syncPeriod': { type: 'duration' },
  nodePortAddresses: { type: 'texts', flag: 'nodeport-addresses' },
  oomScoreAdj: { type: 'whole', flag: 'oom-score-adj', zeroCounts: true },
  portRange: { type: 'text', flag: 'proxy-port-range' },
  resourceContainer: { type: 'text' },
  showHiddenMetricsForVersion: { type: 'text' },
  udpIdleTimeout: { type: 'duration', flag: 'udp-timeout' },
  windowsRunAsService: { type: 'boolean' },
  'winkernel.enableDSR': { type: 'boolean' },
  'winkernel.forwardHealthCheckVip': { type: 'boolean' },
  'winkernel.networkName': { type: 'text' },
  'winkernel.rootHnsEndpointName': { type: 'text' },
  'winkernel.sourceVip': { type: 'text' },
};

/** Objects that hold fields. */
export const SECTIONS: ReadonlySet<string> = new Set(
  Object.keys(FIELDS).flatMap((path) => (path.includes('.') ? [path.slice(0, path.indexOf('.'))] : [])),
);

/** The flags that have a field, by name. */
export const FLAGS_OF_FIELDS: ReadonlySet<string> = new Set(
  Object.values(FIELDS).flatMap(({ flag }) => (flag === undefined ? [] : [flag])),
);

/** The field that means the same as a flag: `iptables.syncPeriod`. */
export function fieldOf(flag: string): string | undefined {
  return Object.keys(FIELDS).find((path) => FIELDS[path]?.flag === flag);
}
