/**
 * Owns what one Service needs: listeners with their backends, and redirects that lead to them. Pure.
 *
 *   Service + slices + View -> planService -> ServicePlan -> diffPlans
 */
import { familyOf, hostPort, IP_FAMILIES, type Ip, type IpFamily } from '../config/address.js';
import type { Backend } from '../model/backend.js';
import { type Endpoint, endpointsOf } from '../model/endpoints.js';
import { type Frontend, frontendKey } from '../model/frontend.js';
import type { EndpointSlice, ObjectKey, Protocol, Service, ServicePortSpec, TrafficPolicy } from '../model/objects.js';
import { type ServicePortKey, type ServicePortName, servicePortKey, servicePortName } from '../model/service-port.js';
import { type Place, selectEndpoints } from '../model/topology.js';

/** What a plan depends on beside the Service's own objects. */
export interface View extends Place {
  readonly serviceProxyName: string | undefined;
  /** Addresses node ports listen on in a family; a wildcard address stands for all. */
  readonly nodePortHosts: (family: IpFamily) => readonly Ip[];
  /** The address redirect listeners of a family bind; undefined: no redirects in it, nothing is opened for its cluster IPs. */
  readonly redirectHost: (family: IpFamily) => Ip | undefined;
  /** The Service that has this resource: the oldest of those that claim it (rule C2). */
  readonly holderOf: (resource: ResourceKey) => ObjectKey | undefined;
}

export interface PlannedListener {
  readonly key: string;
  readonly servicePort: ServicePortName;
  readonly family: IpFamily;
  /** A node port binds what clients dial; a redirect listener gets its port when it is opened. */
  readonly at:
    | { readonly kind: 'nodePort'; readonly host: Ip; readonly port: number }
    | { readonly kind: 'redirect'; readonly host: Ip };
  readonly affinityTimeoutMs: number | undefined;
  readonly backends: readonly Backend[];
}

export interface PlannedRedirect {
  readonly frontend: Frontend;
  readonly owner: ServicePortKey;
  /** Listener key; undefined: clients are refused (rule E5). */
  readonly to: string | undefined;
}

export interface ServicePlan {
  readonly listeners: readonly PlannedListener[];
  readonly redirects: readonly PlannedRedirect[];
  /** What of the Service is not served, and why; one sentence each. */
  readonly notes: readonly string[];
  /** Frontend groups with policy Local that have usable endpoints, but none here (metric no_local_endpoints). */
  readonly noLocal: { readonly internal: number; readonly external: number };
}

export const emptyPlan: ServicePlan = {
  listeners: [],
  redirects: [],
  notes: [],
  noLocal: { internal: 0, external: 0 },
};

/** What only one Service can have: a frontend, or a node port (`nodePort:31269/TCP`). */
export type ResourceKey = string;

/** Rule S1: whether we proxy this Service. */
export function isOurs(service: Service, serviceProxyName: string | undefined): boolean {
  return service.type !== 'ExternalName' && !service.headless && service.proxyName === serviceProxyName;
}

/** Everything the Service claims for itself, whether or not it gets it. */
export function resourcesOf(service: Service): readonly ResourceKey[] {
  const keys: ResourceKey[] = [];
  for (const port of service.ports) {
    const { protocol } = port;
    if (protocol === 'SCTP') continue;
    for (const address of service.clusterIPs) keys.push(frontendKey({ address, port: port.port, protocol }));
    if (port.nodePort !== undefined) keys.push(nodePortKey(port.nodePort, protocol));
  }
  return keys;
}

export function planService(service: Service, slices: readonly EndpointSlice[], view: View): ServicePlan {
  const draft = new Draft(service, slices, view);
  for (const port of service.ports) {
    if (port.protocol === 'SCTP') draft.notes.push(`port ${port.port}/SCTP is not supported and is not served`);
    else draft.planPort(port, port.protocol);
  }
  return draft;
}

/** A plan being written: the ports of one Service add to it one after another. */
class Draft implements ServicePlan {
  readonly listeners: PlannedListener[] = [];
  readonly redirects: PlannedRedirect[] = [];
  readonly notes: string[] = [];
  readonly noLocal = { internal: 0, external: 0 };

  readonly #service: Service;
  readonly #slices: readonly EndpointSlice[];
  readonly #view: View;

  constructor(service: Service, slices: readonly EndpointSlice[], view: View) {
    this.#service = service;
    this.#slices = slices;
    this.#view = view;
  }

  planPort(port: ServicePortSpec, protocol: Protocol): void {
    const name = servicePortName(this.#service, port, protocol);
    for (const family of IP_FAMILIES) {
      const clusterIPs = this.#service.clusterIPs.filter((ip) => familyOf(ip) === family);
      if (!this.#hasFamily(family, clusterIPs.length > 0)) continue;
      const endpoints = endpointsOf(this.#slices, name2port(name), family, this.#view.nodeName);
      const frontends = clusterIPs.map((address) => ({ address, port: port.port, protocol }));
      this.#planInternal(name, family, frontends, endpoints);
      if (port.nodePort !== undefined) this.#planNodePort(name, family, port.nodePort, endpoints);
    }
  }

  /** A Service without cluster IPs (a manifest by hand) has node ports in the families of its slices. */
  #hasFamily(family: IpFamily, hasClusterIP: boolean): boolean {
    if (this.#service.clusterIPs.length > 0) return hasClusterIP;
    return this.#slices.some((slice) => slice.family === family);
  }

  /** One listener behind all frontends that internalTrafficPolicy governs (rule E3). */
  #planInternal(
    name: ServicePortName,
    family: IpFamily,
    frontends: readonly Frontend[],
    endpoints: readonly Endpoint[],
  ): void {
    const host = this.#view.redirectHost(family);
    const ours = host === undefined ? [] : frontends.filter((frontend) => this.#claims(frontendKey(frontend)));
    if (host === undefined || ours.length === 0) return;
    const backends = this.#backends(endpoints, this.#service.internalTrafficPolicy, 'internal');
    const key = `${servicePortKey(name)}@internal/${host}`;
    this.#listen(key, name, family, { kind: 'redirect', host }, backends);
    const to = backends.length > 0 ? key : undefined;
    for (const frontend of ours) this.redirects.push({ frontend, owner: servicePortKey(name), to });
  }

  #planNodePort(name: ServicePortName, family: IpFamily, port: number, endpoints: readonly Endpoint[]): void {
    if (!this.#claims(nodePortKey(port, name.protocol))) return;
    const backends = this.#backends(endpoints, this.#service.externalTrafficPolicy, 'external');
    for (const host of this.#view.nodePortHosts(family)) {
      const key = `${servicePortKey(name)}@${hostPort(host, port)}`;
      this.#listen(key, name, family, { kind: 'nodePort', host, port }, backends);
    }
  }

  #listen(
    key: string,
    servicePort: ServicePortName,
    family: IpFamily,
    at: PlannedListener['at'],
    backends: readonly Backend[],
  ): void {
    const { affinityTimeoutMs } = this.#service;
    this.listeners.push({ key, servicePort, family, at, affinityTimeoutMs, backends });
  }

  #claims(resource: ResourceKey): boolean {
    const holder = this.#view.holderOf(resource);
    if (holder === this.#service.key) return true;
    const note = `${resource} is not served: the older Service ${holder ?? '(none)'} has it`;
    if (!this.notes.includes(note)) this.notes.push(note);
    return false;
  }

  #backends(endpoints: readonly Endpoint[], policy: TrafficPolicy, side: 'internal' | 'external'): readonly Backend[] {
    const selected = selectEndpoints(endpoints, policy, this.#view);
    const elsewhere = policy === 'Local' && selected.length === 0 && selectEndpoints(endpoints, 'Cluster', this.#view);
    if (elsewhere !== false && elsewhere.length > 0) this.noLocal[side]++;
    return selected.map(({ address, port }) => ({ host: address, port }));
  }
}

function name2port(name: ServicePortName): { name: string; protocol: Protocol } {
  return { name: name.port, protocol: name.protocol };
}

function nodePortKey(port: number, protocol: Protocol): ResourceKey {
  return `nodePort:${port}/${protocol}`;
}
