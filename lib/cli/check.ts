/**
 * Owns `kproxy-us check`: what manifests would open and redirect on this machine, or everything that is wrong with them.
 *
 *   paths -> loadManifests -> planService, for each Service -> table | faults, exit 2 (rule C1)
 */
import { NodeAddresses } from '../apply/node-addresses.js';
import { familyOf, hostPort, IP_FAMILIES, type Ip, scopeOf } from '../config/address.js';
import type { HostPort, RedirectMode } from '../config/options.js';
import { keysOf, type PackedBackends } from '../model/backend.js';
import { frontendKey } from '../model/frontend.js';
import type { EndpointSlice, Service } from '../model/objects.js';
import { servicePortKey } from '../model/service-port.js';
import { Claims } from '../plan/claims.js';
import { planService } from '../plan/plan-service.js';
import {
  type Destination,
  isOurs,
  nodePortKey,
  resourcesOf,
  type ServicePlan,
  type View,
} from '../plan/service-plan.js';
import { loadManifests, type Manifests } from '../source/manifests/load-manifests.js';
import { faultText } from '../source/manifests/manifest-fault.js';
import { ObjectStore } from '../source/store.js';
import type { ExitCode } from './exit-code.js';
import { defaultsOf, type FlagValues } from './flag.js';
import type { CHECK_FLAGS } from './program.js';
import { RUN_FLAGS } from './run-flags.js';
import { type Environment, nodeNameOf, optionsFrom } from './run-options.js';
import { few, table } from './table.js';

export type CheckFlags = FlagValues<typeof CHECK_FLAGS>;

export async function check(paths: readonly string[], flags: CheckFlags, environment: Environment): Promise<ExitCode> {
  const manifests = await loadManifests(paths);
  const nodeName = nodeNameOf(flags['hostname-override'], environment);
  const faults = [...manifests.faults.map(faultText), ...conflicts(manifests, flags, nodeName)];
  if (faults.length > 0) {
    process.stderr.write(faults.map((fault) => `error: ${fault}\n`).join(''));
    return 2;
  }
  process.stdout.write(planText(manifests, flags, nodeName));
  return 0;
}

/** What only one can have and several ask for: two Services, or a node port and a status server of this program. */
export function conflicts(manifests: Manifests, flags: CheckFlags, nodeName: string): readonly string[] {
  const claims = claimsOf(manifests.services, flags['service-proxy-name']);
  const { nodePortHosts } = viewOf(manifests, flags, nodeName);
  const servers = statusServers(flags['bind-address']);
  return manifests.services
    .filter((service) => isOurs(service, flags['service-proxy-name']))
    .flatMap((service) => {
      const wanted = [...new Set(resourcesOf(service))];
      const taken = wanted.flatMap((resource) => {
        const holder = claims.holderOf(resource);
        return holder === service.key || holder === undefined
          ? []
          : [`${resource} is that of Service ${holder} already`];
      });
      const hosts = IP_FAMILIES.flatMap(nodePortHosts);
      const served = servers.flatMap(({ flag, at }) => {
        const meets = wanted.includes(nodePortKey(at.port, 'TCP')) && hosts.some((host) => overlap(host, at.host));
        return meets
          ? [`${nodePortKey(at.port, 'TCP')} is taken by the server of --${flag} (${hostPort(at.host, at.port)})`]
          : [];
      });
      return [...taken, ...served].map((fault) => `Service ${service.key}: ${fault}`);
    });
}

/** Where the status servers listen unless flags say otherwise. */
function statusServers(bindAddress: Ip): readonly { readonly flag: string; readonly at: HostPort }[] {
  const flags = { ...defaultsOf(RUN_FLAGS), 'bind-address': bindAddress };
  const { healthzBindAddress, metricsBindAddress } = optionsFrom(flags, { nodeName: undefined, hostname: '' }, []);
  return [
    ...(healthzBindAddress === undefined ? [] : [{ flag: 'healthz-bind-address', at: healthzBindAddress }]),
    ...(metricsBindAddress === undefined ? [] : [{ flag: 'metrics-bind-address', at: metricsBindAddress }]),
  ];
}

/** Whether two sockets with one port are in each other's way. A server on `::` takes IPv4 too. */
function overlap(nodePortHost: Ip, serverHost: Ip): boolean {
  if (serverHost === '::' || nodePortHost === serverHost) return true;
  if (familyOf(nodePortHost) !== familyOf(serverHost)) return false;
  return scopeOf(nodePortHost) === 'unspecified' || scopeOf(serverHost) === 'unspecified';
}

/** A table of listeners, then a line for everything that is not served. */
export function planText(manifests: Manifests, flags: CheckFlags, nodeName: string): string {
  const store = new ObjectStore();
  for (const service of manifests.services) store.setService(service);
  for (const slice of manifests.slices) store.setSlice(slice);
  const claims = claimsOf(manifests.services, flags['service-proxy-name']);
  const view = { ...viewOf(manifests, flags, nodeName), holderOf: claims.holderOf.bind(claims) };

  const rows: string[][] = [];
  const notes: string[] = [];
  for (const service of manifests.services) {
    if (!isOurs(service, view.serviceProxyName)) {
      notes.push(`${service.key}: not served: ${whyNotOurs(service)}`);
      continue;
    }
    const plan = planService(service, store.slicesOf(service.key), view);
    rows.push(...nodePortRows(plan), ...redirectRows(plan, flags.redirect));
    notes.push(...plan.notes.map((note) => `${service.key}: ${note}`));
    if (plan.listeners.length === 0) notes.push(`${service.key}: nothing would be opened for it`);
  }
  notes.push(...orphans(manifests.slices, store), ...ignoredKinds(manifests.ignored));
  const header = ['SERVICE PORT', 'CLIENTS DIAL', 'THROUGH', 'BACKENDS'];
  const listeners = rows.length === 0 ? 'nothing would be opened\n' : table(header, rows);
  return `${listeners}${notes.map((note) => `note: ${note}\n`).join('')}`;
}

function claimsOf(services: readonly Service[], serviceProxyName: string | undefined): Claims {
  const claims = new Claims();
  for (const service of services) {
    if (isOurs(service, serviceProxyName)) claims.set(service.key, service.createdAt, resourcesOf(service));
  }
  return claims;
}

function viewOf(manifests: Manifests, flags: CheckFlags, nodeName: string): Omit<View, 'holderOf'> {
  const node = manifests.nodes.find(({ name }) => name === nodeName);
  const addresses = new NodeAddresses({
    nodePortAddresses: flags['nodeport-addresses'],
    bindAddress: flags['bind-address'],
    node: () => node,
    onChange: () => undefined,
  });
  return {
    nodeName,
    zone: node?.zone,
    serviceProxyName: flags['service-proxy-name'],
    nodePortHosts: (family) => addresses.nodePortHosts(family),
    redirectHost: (family) => (flags.redirect === 'none' ? undefined : addresses.redirectHost(family)),
  };
}

function nodePortRows({ listeners }: ServicePlan): string[][] {
  return listeners.flatMap(({ servicePort, at, backends }) =>
    at.kind === 'nodePort'
      ? [[servicePortKey(servicePort), hostPort(at.host, at.port), 'node port', backendsText(backends)]]
      : [],
  );
}

function redirectRows({ listeners, redirects }: ServicePlan, mode: RedirectMode): string[][] {
  const backendsOf = new Map(listeners.map(({ key, backends }) => [key, backends]));
  const text = (to: Destination) =>
    to.kind === 'drop'
      ? 'none here: clients are dropped'
      : backendsText(to.kind === 'listener' ? backendsOf.get(to.key) : '');
  return redirects.map(({ frontend, owner, to, inside, allowed }) => {
    const ranges = allowed === undefined ? '' : `; only from ${allowed.cidrs.join(' ')}`;
    const pods = inside === undefined ? '' : `; pods and node: ${text(inside)}`;
    return [owner, frontendKey(frontend), mode, `${text(to)}${pods}${ranges}`];
  });
}

function backendsText(backends: PackedBackends = ''): string {
  return backends === '' ? 'none: clients are refused' : few(keysOf(backends));
}

function whyNotOurs({ type, headless, proxyName }: Service): string {
  if (type === 'ExternalName') return 'type ExternalName has no addresses of its own';
  if (headless) return 'headless: its clients dial the pods themselves';
  return proxyName === undefined
    ? 'it has no label service-proxy-name'
    : `its label service-proxy-name is ${proxyName}`;
}

/** Slices that no Service asks for: most often a misspelt label. */
function orphans(slices: readonly EndpointSlice[], store: ObjectStore): readonly string[] {
  return slices
    .filter(({ service }) => store.service(service) === undefined)
    .map(({ key, service }) => `EndpointSlice ${key} belongs to Service ${service}, which is not there`);
}

function ignoredKinds(ignored: Manifests['ignored']): readonly string[] {
  return [...ignored].map(([kind, count]) => `${count} of ${kind}: not read, nothing here serves it`);
}
