/**
 * Owns planning: which listeners and redirects one Service needs. Pure.
 *
 *   Service + slices + View -> each port, each family -> cluster IPs, external addresses, node port -> ServicePlan
 */
import { familyOf, hostPort, IP_FAMILIES, type Ip, type IpFamily, scopeOf } from '../config/address.js';
import { cidrContains } from '../config/cidr.js';
import { type PackedBackends, packBackends } from '../model/backend.js';
import { type Endpoint, endpointsOf } from '../model/endpoints.js';
import { type Frontend, frontendKey, type SourceRanges } from '../model/frontend.js';
import type { EndpointSlice, Protocol, Service, ServicePortSpec, TrafficPolicy } from '../model/objects.js';
import { type ServicePortKey, type ServicePortName, servicePortKey, servicePortName } from '../model/service-port.js';
import { selectEndpoints } from '../model/topology.js';
import {
  type Destination,
  emptyPlan,
  nodePortKey,
  type PlannedListener,
  type PlannedRedirect,
  type ResourceKey,
  type ServicePlan,
  type View,
} from './service-plan.js';

const REJECT: Destination = { kind: 'reject' };
const DROP: Destination = { kind: 'drop' };

export function planService(service: Service, slices: readonly EndpointSlice[], view: View): ServicePlan {
  const draft = new Draft(service, slices, view);
  for (const port of service.ports) {
    if (port.protocol === 'SCTP') draft.notes.push(`port ${port.port}/SCTP is not supported and is not served`);
    else for (const family of IP_FAMILIES) draft.planPort(port, port.protocol, family);
  }
  // Copies, which are as long as what they hold: an array that grew has room for more.
  const [listeners, redirects] = [draft.listeners.slice(), draft.redirects.slice()];
  const healthCheck = draft.healthCheck();
  const notes = draft.notes.length === 0 ? emptyPlan.notes : draft.notes;
  return { listeners, redirects, healthCheck, notes, noLocal: draft.noLocal() };
}

/** One port of the Service in one family. */
interface Port {
  readonly name: ServicePortName;
  readonly family: IpFamily;
  readonly endpoints: readonly Endpoint[];
}

/** Who serves an external frontend, by where the client is. */
interface External {
  readonly listener: string;
  readonly to: Destination;
  readonly inside: Destination | undefined;
}

/** A plan being written: the ports of one Service add to it one after another. */
class Draft {
  readonly listeners: PlannedListener[] = [];
  readonly redirects: PlannedRedirect[] = [];
  readonly notes: string[] = [];

  /** Service ports that have nobody here under a policy Local, though somebody elsewhere; one of two families is enough. */
  readonly #noLocal = { internal: new Set<ServicePortKey>(), external: new Set<ServicePortKey>() };
  readonly #service: Service;
  readonly #slices: readonly EndpointSlice[];
  readonly #view: View;
  readonly #localReady: Record<IpFamily, Set<Ip>> = { IPv4: new Set(), IPv6: new Set() };

  constructor(service: Service, slices: readonly EndpointSlice[], view: View) {
    this.#service = service;
    this.#slices = slices;
    this.#view = view;
  }

  planPort(spec: ServicePortSpec, protocol: Protocol, family: IpFamily): void {
    if (!this.#hasFamily(family)) return;
    const name = servicePortName(this.#service, spec, protocol);
    const endpoints = endpointsOf(this.#slices, { name: name.port, protocol }, family, this.#view.nodeName);
    for (const { address, local, ready } of endpoints) if (local && ready) this.#localReady[family].add(address);
    const port: Port = { name, family, endpoints };
    const host = this.#view.redirectHost(family);
    if (host !== undefined) {
      const internal = this.#planClusterIps(port, spec.port, host);
      this.#planExternalAddresses(port, spec.port, host, internal);
    }
    if (spec.nodePort !== undefined) this.#planNodePort(port, spec.nodePort, host !== undefined);
  }

  noLocal(): ServicePlan['noLocal'] {
    const { internal, external } = this.#noLocal;
    if (internal.size + external.size === 0) return emptyPlan.noLocal;
    return { internal: internal.size, external: external.size };
  }

  healthCheck(): ServicePlan['healthCheck'] {
    const { healthCheckNodePort: port } = this.#service;
    if (port === undefined || !this.#claims(nodePortKey(port, 'TCP'))) return undefined;
    const families = IP_FAMILIES.filter((family) => this.#hasFamily(family));
    const hosts = families.flatMap((family) => this.#view.nodePortHosts(family));
    return { port, hosts, localEndpoints: Math.max(this.#localReady.IPv4.size, this.#localReady.IPv6.size) };
  }

  /** A Service without cluster IPs (a manifest by hand) has the families of its other addresses and of its slices. */
  #hasFamily(family: IpFamily): boolean {
    const { clusterIPs, externalIPs, loadBalancerIPs } = this.#service;
    if (clusterIPs.length > 0) return clusterIPs.some((ip) => familyOf(ip) === family);
    const addresses = [...externalIPs, ...loadBalancerIPs];
    return addresses.some((ip) => familyOf(ip) === family) || this.#slices.some((slice) => slice.family === family);
  }

  /** One listener behind all cluster IPs, under internalTrafficPolicy (rules E3, E6). Returns it, where there are any. */
  #planClusterIps(port: Port, number: number, host: Ip): PlannedListener | undefined {
    const frontends = this.#frontends(port, number, this.#service.clusterIPs);
    if (frontends.length === 0) return undefined;
    const { internalTrafficPolicy } = this.#service;
    const listener = this.#redirectListener(port, host, 'internal', internalTrafficPolicy);
    const to = this.#isElsewhere(port, internalTrafficPolicy, 'internal') ? DROP : leadsTo(listener);
    const owner = servicePortKey(port.name);
    for (const frontend of frontends) this.redirects.push({ frontend, owner, listener: listener.key, to });
    return listener;
  }

  /** One listener behind all external IPs and load-balancer IPs, under externalTrafficPolicy (rules E3, E6, E7). */
  #planExternalAddresses(port: Port, number: number, host: Ip, internal: PlannedListener | undefined): void {
    const { externalIPs, loadBalancerIPs } = this.#service;
    const clusterIPs = new Set(this.#service.clusterIPs);
    const addresses = [...new Set([...externalIPs, ...loadBalancerIPs])].filter((ip) => !clusterIPs.has(ip));
    const frontends = this.#frontends(port, number, addresses);
    if (frontends.length === 0) return;
    const owner = servicePortKey(port.name);
    const { listener, to, inside } = this.#external(port, host, internal);
    for (const frontend of frontends) {
      const restricted = loadBalancerIPs.includes(frontend.address) && !externalIPs.includes(frontend.address);
      const allowed = restricted ? this.#sourceRanges(port.family, host) : undefined;
      const more = { ...(inside === undefined ? {} : { inside }), ...(allowed === undefined ? {} : { allowed }) };
      this.redirects.push({ frontend, owner, listener, to, ...more });
    }
  }

  #external(port: Port, host: Ip, internal: PlannedListener | undefined): External {
    const { externalTrafficPolicy: policy, internalTrafficPolicy } = this.#service;
    const external = this.#redirectListener(port, host, 'external', policy);
    const listener = external.key;
    if (policy === 'Cluster') return { listener, to: leadsTo(external), inside: undefined };
    const shared = internalTrafficPolicy === 'Cluster' ? internal : undefined;
    const inside = leadsTo(shared ?? this.#redirectListener(port, host, 'cluster', 'Cluster'));
    return { listener, to: this.#isElsewhere(port, policy, 'external') ? DROP : leadsTo(external), inside };
  }

  #planNodePort(port: Port, number: number, canDrop: boolean): void {
    const { name, family, endpoints } = port;
    const { protocol } = name;
    if (!this.#claims(nodePortKey(number, protocol))) return;
    const { externalTrafficPolicy: policy } = this.#service;
    const backends = this.#backends(endpoints, policy);
    const dropped = this.#isElsewhere(port, policy, 'external') && canDrop;
    for (const host of this.#view.nodePortHosts(family)) {
      const key = [servicePortKey(name), hostPort(host, number)].join('@');
      this.#listen(key, port, { kind: 'nodePort', host, port: number }, backends);
      if (dropped) this.#dropOutside({ address: host, port: number, protocol }, servicePortKey(name), key);
    }
  }

  /** What nobody listens on is refused; clients from outside are not to meet that (rule E6). They do not reach loopback. */
  #dropOutside(frontend: Frontend, owner: ServicePortKey, listener: string): void {
    if (scopeOf(frontend.address) !== 'loopback') this.redirects.push({ frontend, owner, listener, to: DROP });
  }

  #frontends({ name, family }: Port, port: number, addresses: readonly Ip[]): readonly Frontend[] {
    const ofFamily = addresses.filter((ip) => familyOf(ip) === family);
    const frontends = ofFamily.map((address) => ({ address, port, protocol: name.protocol }));
    return frontends.filter((frontend) => this.#claims(frontendKey(frontend)));
  }

  #redirectListener(
    port: Port,
    host: Ip,
    group: 'internal' | 'external' | 'cluster',
    policy: TrafficPolicy,
  ): PlannedListener {
    const key = [servicePortKey(port.name), '@', group, '/', host].join('');
    return this.#listen(key, port, { kind: 'redirect', host }, this.#backends(port.endpoints, policy));
  }

  #listen(key: string, port: Port, at: PlannedListener['at'], backends: PackedBackends): PlannedListener {
    const { affinityTimeoutMs } = this.#service;
    const listener = { key, servicePort: port.name, family: port.family, at, affinityTimeoutMs, backends };
    this.listeners.push(listener);
    return listener;
  }

  #claims(resource: ResourceKey): boolean {
    const holder = this.#view.holderOf(resource);
    if (holder === this.#service.key) return true;
    const note = `${resource} is not served: Service ${holder ?? '(none)'} had it first`;
    if (!this.notes.includes(note)) this.notes.push(note);
    return false;
  }

  #backends(endpoints: readonly Endpoint[], policy: TrafficPolicy): PackedBackends {
    const chosen = selectEndpoints(endpoints, policy, this.#view).map(({ address, port }) => ({ host: address, port }));
    const packed = packBackends(chosen);
    // Most listeners of a Service have one set: it is then one text.
    return this.listeners.find(({ backends }) => backends === packed)?.backends ?? packed;
  }

  /** True where policy Local leaves nobody, though there are usable endpoints on other nodes (rule E6, metric no_local_endpoints). */
  #isElsewhere({ name, endpoints }: Port, policy: TrafficPolicy, side: 'internal' | 'external'): boolean {
    if (policy === 'Cluster' || this.#backends(endpoints, 'Local') !== '') return false;
    if (this.#backends(endpoints, 'Cluster') === '') return false;
    this.#noLocal[side].add(servicePortKey(name));
    return true;
  }

  /** As kube-proxy: a family that no range names is open to everybody (rule E8). */
  #sourceRanges(family: IpFamily, nodeIp: Ip): SourceRanges | undefined {
    const ranges = this.#service.loadBalancerSourceRanges;
    const cidrs = ranges.filter((cidr) => familyOf(cidr) === family);
    if (cidrs.length === 0) return undefined;
    return { cidrs, node: cidrs.some((cidr) => cidrContains(cidr, nodeIp)) };
  }
}

function leadsTo(listener: PlannedListener): Destination {
  return listener.backends !== '' ? { kind: 'listener', key: listener.key } : REJECT;
}
