/**
 * Owns what the program was asked to do: every flag and configuration field, parsed, with kube-proxy's names and defaults.
 *
 *   flags, --config file -> lib/cli -> Options (frozen) -> daemon
 */
import type { Ip } from './address.js';

export interface HostPort {
  readonly host: Ip;
  readonly port: number;
}

/** Both ends included. */
export interface PortRange {
  readonly first: number;
  readonly last: number;
}

export type RedirectMode = 'iptables' | 'nftables' | 'route' | 'none';
export type EngineChoice = 'auto' | 'native' | 'portable';

export interface Options {
  /** Files or directories of objects; empty where an API server is the source. */
  readonly manifests: readonly string[];
  readonly kubeconfig: string | undefined;
  readonly master: string | undefined;
  /** The Node this process runs on: `--hostname-override`, `NODE_NAME`, or the host name, lower case. */
  readonly nodeName: string;
  /** Services with this value in label `service.kubernetes.io/service-proxy-name` are ours; undefined: those without it. */
  readonly serviceProxyName: string | undefined;

  readonly redirect: RedirectMode;
  readonly engine: EngineChoice;
  readonly relayThreads: number;
  readonly ioUring: 'auto' | 'off';
  /** `0.0.0.0` and `::` mean every address of the family. */
  readonly bindAddress: Ip;
  readonly bindAddressHardFail: boolean;
  /** Ports for redirect listeners. */
  readonly proxyPortRange: PortRange;
  /** CIDRs that node ports listen on, or `primary`; empty: all addresses. */
  readonly nodePortAddresses: readonly string[];
  readonly clusterCidrs: readonly string[];

  /** undefined turns the server off. */
  readonly healthzBindAddress: HostPort | undefined;
  readonly metricsBindAddress: HostPort | undefined;

  /** At most one sync in this time, the first of a burst at once (rule Y2). */
  readonly minSyncPeriodMs: number;
  /** Rules are compared with the kernel's this often (rule R5). */
  readonly syncPeriodMs: number;
  /** Manifests are read again this often; an API server tells of changes by itself. */
  readonly configSyncPeriodMs: number;

  readonly dialTimeoutMs: number;
  readonly dialAttempts: number;
  readonly tcpIdleTimeoutMs: number;
  readonly halfCloseTimeoutMs: number;
  readonly udpTimeoutMs: number;
  readonly drainTimeoutMs: number;
  /** 0: no bound. */
  readonly maxConnections: number;
  readonly maxConnectionsPerListener: number;
  /** File that connection records are appended to, `-` for stdout; undefined: off. */
  readonly accessLog: string | undefined;

  readonly kubeApiQps: number;
  readonly kubeApiBurst: number;
  /** -1000 to 1000; undefined leaves it as it is. */
  readonly oomScoreAdj: number | undefined;
  readonly featureGates: Readonly<Record<string, boolean>>;
  /** kube-proxy's --v: 0 to 10; from 4 on, debug lines. */
  readonly verbosity: number;
  readonly loggingFormat: 'text' | 'json';
}
