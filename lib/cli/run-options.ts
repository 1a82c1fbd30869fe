/**
 * Owns the way from the flags of `run` to frozen Options: what depends on several flags, and on where we run.
 *
 *   FlagValues + environment -> optionsFrom -> Options | faults, all of them (rule C1)
 */
import { familyOf, hostPort, type Ip } from '../config/address.js';
import { hostPortParser } from '../config/host-port.js';
import type { HostPort, Options } from '../config/options.js';
import { isFault } from '../config/parsed.js';
import { chooseAccess, NO_ACCESS } from '../source/api/choose-access.js';
import { defaultsOf, type FlagValues } from './flag.js';
import { RUN_FLAGS } from './run-flags.js';

export const HEALTHZ_PORT = 10_256;
export const METRICS_PORT = 10_249;

export type RunFlagValues = FlagValues<typeof RUN_FLAGS>;

export interface Environment {
  /** `NODE_NAME`, as the downward API gives it. */
  readonly nodeName: string | undefined;
  readonly hostname: string;
}

/** What a fault names as the place of a flag's value: the flag, or where a file says it. */
export type NameOf = (flag: keyof typeof RUN_FLAGS) => string;

/** Faults are added to `faults`; the Options are whole either way. */
export function optionsFrom(
  flags: RunFlagValues,
  environment: Environment,
  faults: string[],
  nameOf: NameOf = (flag) => `--${flag}`,
): Options {
  const servers = statusAddresses(flags, faults, nameOf);
  checkPeriods(flags, faults, nameOf);
  return Object.freeze({
    manifests: flags.manifests,
    kubeconfig: flags.kubeconfig,
    master: flags.master,
    nodeName: nodeNameOf(flags['hostname-override'], environment),
    serviceProxyName: flags['service-proxy-name'],
    redirect: flags.redirect,
    engine: flags.engine,
    relayThreads: flags['relay-threads'],
    ioUring: flags['io-uring'],
    bindAddress: flags['bind-address'],
    bindAddressHardFail: flags['bind-address-hard-fail'],
    proxyPortRange: flags['proxy-port-range'],
    nodePortAddresses: flags['nodeport-addresses'],
    clusterCidrs: flags['cluster-cidr'],
    healthzBindAddress: servers.healthz,
    metricsBindAddress: servers.metrics,
    minSyncPeriodMs: flags['iptables-min-sync-period'],
    syncPeriodMs: flags['iptables-sync-period'],
    configSyncPeriodMs: flags['config-sync-period'],
    dialTimeoutMs: flags['dial-timeout'],
    dialAttempts: flags['dial-attempts'],
    tcpIdleTimeoutMs: flags['tcp-idle-timeout'],
    halfCloseTimeoutMs: flags['half-close-timeout'],
    udpTimeoutMs: flags['udp-timeout'],
    drainTimeoutMs: flags['drain-timeout'],
    maxConnections: flags['max-connections'],
    maxConnectionsPerListener: flags['max-connections-per-listener'],
    accessLog: flags['access-log'],
    kubeApiQps: flags['kube-api-qps'],
    kubeApiBurst: flags['kube-api-burst'],
    oomScoreAdj: flags['oom-score-adj'],
    featureGates: flags['feature-gates'],
    verbosity: flags.v,
    loggingFormat: flags['logging-format'],
  });
}

/** The Options of a command line without flags, for the demo and for specs. */
export function defaultOptions(environment: Environment): Options {
  return optionsFrom(defaultsOf(RUN_FLAGS), environment, []);
}

/** A source must be named: files, or something that leads to an API server. */
export function checkSource(
  flags: RunFlagValues,
  faults: string[],
  env: Readonly<Record<string, string | undefined>> = process.env,
): void {
  const { kubeconfig, master, manifests } = flags;
  if (manifests.length === 0 && chooseAccess({ kubeconfig, master, env }) === undefined) faults.push(NO_ACCESS);
}

/** Where `status` asks: an address that servers bind but nobody can dial stands for this machine. */
export function statusAddress(text: string | undefined, faults: string[]): HostPort | undefined {
  const parsed = hostPortParser(METRICS_PORT)(text ?? '127.0.0.1');
  if (isFault(parsed)) {
    faults.push(`--metrics-bind-address: ${parsed.fault}`);
    return undefined;
  }
  if (parsed.value === undefined) {
    faults.push('--metrics-bind-address: "": expected the address of a running process');
    return undefined;
  }
  const { host, port } = parsed.value;
  return { host: host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host, port };
}

/** As kube-proxy does: the flag, else the host name; between them the environment, which the downward API can set. */
export function nodeNameOf(override: string | undefined, { nodeName, hostname }: Environment): string {
  const given = override ?? (nodeName !== undefined && nodeName.trim() !== '' ? nodeName : hostname);
  return given.trim().toLowerCase();
}

function statusAddresses(flags: RunFlagValues, faults: string[], nameOf: NameOf) {
  const ipv6 = familyOf(flags['bind-address']) === 'IPv6';
  const healthz = serverAddress('healthz', flags, ipv6 ? '::' : '0.0.0.0', HEALTHZ_PORT, faults, nameOf);
  const metrics = serverAddress('metrics', flags, ipv6 ? '::1' : '127.0.0.1', METRICS_PORT, faults, nameOf);
  if (healthz !== undefined && metrics !== undefined && healthz.port !== 0) {
    const same = hostPort(healthz.host, healthz.port) === hostPort(metrics.host, metrics.port);
    if (same) {
      const at = hostPort(healthz.host, healthz.port);
      const name = nameOf('metrics-bind-address');
      faults.push(`${name}: "${at}": expected another address than ${nameOf('healthz-bind-address')} has`);
    }
  }
  return { healthz, metrics };
}

/** kube-proxy's rules: `--x-port 0` turns the server off, any other port counts where the address names none. */
function serverAddress(
  server: 'healthz' | 'metrics',
  flags: RunFlagValues,
  defaultHost: Ip,
  defaultPort: number,
  faults: string[],
  nameOf: NameOf,
): HostPort | undefined {
  const port = flags[`${server}-port`];
  const parsed = hostPortParser(port ?? defaultPort)(flags[`${server}-bind-address`] ?? defaultHost);
  if (!isFault(parsed)) return port === 0 ? undefined : parsed.value;
  faults.push(`${nameOf(`${server}-bind-address`)}: ${parsed.fault}`);
  return undefined;
}

function checkPeriods(flags: RunFlagValues, faults: string[], nameOf: NameOf): void {
  if (flags['iptables-min-sync-period'] > flags['iptables-sync-period']) {
    const name = nameOf('iptables-min-sync-period');
    faults.push(`${name}: expected a duration not longer than ${nameOf('iptables-sync-period')}`);
  }
}
