/**
 * Owns the flags of kube-proxy (every release from 1.20 to 1.36, all platforms) that are about its other modes or about
 * libraries that we do not have. They are accepted and do nothing, so that a kube-proxy DaemonSet's arguments work unchanged.
 *
 *   kube-proxy's arguments -> readArgv -> one warning that names those of them that do nothing
 */
import type { Arity } from './argv.js';

/** Our own conntrack entries and sysctls: no packet of ours depends on them. */
const CONNTRACK = {
  'conntrack-max-per-core': 'value',
  'conntrack-min': 'value',
  'conntrack-tcp-be-liberal': 'boolean',
  'conntrack-tcp-timeout-close-wait': 'value',
  'conntrack-tcp-timeout-established': 'value',
  'conntrack-udp-timeout': 'value',
  'conntrack-udp-timeout-stream': 'value',
} as const;

const OTHER_MODES = {
  'detect-local-mode': 'value',
  'iptables-localhost-nodeports': 'boolean',
  'iptables-masquerade-bit': 'value',
  'ipvs-exclude-cidrs': 'value',
  'ipvs-min-sync-period': 'value',
  'ipvs-scheduler': 'value',
  'ipvs-strict-arp': 'boolean',
  'ipvs-sync-period': 'value',
  'ipvs-tcp-timeout': 'value',
  'ipvs-tcpfin-timeout': 'value',
  'ipvs-udp-timeout': 'value',
  'cleanup-ipvs': 'boolean',
  'masquerade-all': 'boolean',
  'pod-bridge-interface': 'value',
  'pod-interface-name-prefix': 'value',
} as const;

const WINDOWS = {
  'enable-dsr': 'boolean',
  'forward-healthcheck-vip': 'boolean',
  'network-name': 'value',
  'root-hnsendpoint-name': 'value',
  'source-vip': 'value',
  'windows-service': 'boolean',
} as const;

/** klog, cAdvisor and cloud providers, whose flags were linked into kube-proxy. */
const LIBRARIES = {
  'add-dir-header': 'boolean',
  alsologtostderr: 'boolean',
  'azure-container-registry-config': 'value',
  'boot-id-file': 'value',
  'kube-api-content-type': 'value',
  'log-backtrace-at': 'value',
  'log-dir': 'value',
  'log-file': 'value',
  'log-file-max-size': 'value',
  'log-flush-frequency': 'value',
  'log-json-info-buffer-size': 'value',
  'log-json-split-stream': 'boolean',
  'log-text-info-buffer-size': 'value',
  'log-text-split-stream': 'boolean',
  logtostderr: 'boolean',
  'machine-id-file': 'value',
  'one-output': 'boolean',
  profiling: 'boolean',
  'resource-container': 'value',
  'show-hidden-metrics-for-version': 'value',
  'skip-headers': 'boolean',
  'skip-log-headers': 'boolean',
  stderrthreshold: 'value',
  vmodule: 'value',
} as const;

export const IGNORED_FLAGS: ReadonlyMap<string, Arity> = new Map(
  Object.entries({ ...CONNTRACK, ...OTHER_MODES, ...WINDOWS, ...LIBRARIES }),
);
