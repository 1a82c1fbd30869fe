/**
 * Owns the vocabulary of plans: what one Service needs of the engine and of the redirects.
 *
 *   Service + slices + View -> planService -> ServicePlan -> diffPlans -> Changes
 */
import type { Ip, IpFamily } from '../config/address.js';
import type { PackedBackends } from '../model/backend.js';
import { type Frontend, frontendKey, type SourceRanges } from '../model/frontend.js';
import type { ObjectKey, Protocol, Service } from '../model/objects.js';
import type { ServicePortKey, ServicePortName } from '../model/service-port.js';
import type { Place } from '../model/topology.js';

/** What a plan depends on beside the Service's own objects. */
export interface View extends Place {
  readonly serviceProxyName: string | undefined;
  /** Addresses node ports listen on in a family; a wildcard address stands for all. */
  readonly nodePortHosts: (family: IpFamily) => readonly Ip[];
  /** The address redirect listeners of a family bind; undefined: no redirects in it, nothing is opened for its frontends. */
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
  readonly backends: PackedBackends;
}

/** Where a frontend leads: to one of the plan's listeners, or nowhere (rules E5, E6). */
export type Destination =
  | { readonly kind: 'listener'; readonly key: string }
  | { readonly kind: 'reject' }
  | { readonly kind: 'drop' };

export interface PlannedRedirect {
  readonly frontend: Frontend;
  readonly owner: ServicePortKey;
  /** The key of the listener that serves it as soon as that has backends; `to` says whether it does. */
  readonly listener: string;
  readonly to: Destination;
  /** For pods and the node itself, where it is another one (rule E7). */
  readonly inside?: Destination;
  /** Who may dial it; absent: everybody (rule E8). */
  readonly allowed?: SourceRanges;
}

/** What an external load balancer that asks at `port` is told (rule H1). */
export interface PlannedHealthCheck {
  readonly port: number;
  /** Addresses to be asked at: those of node ports, in the families of the Service. */
  readonly hosts: readonly Ip[];
  /** Ready endpoints on this node; of the family that has more. */
  readonly localEndpoints: number;
}

export interface ServicePlan {
  readonly listeners: readonly PlannedListener[];
  readonly redirects: readonly PlannedRedirect[];
  readonly healthCheck: PlannedHealthCheck | undefined;
  /** What of the Service is not served, and why; one sentence each. */
  readonly notes: readonly string[];
  /** Frontend groups with policy Local that have usable endpoints, but none here (metric no_local_endpoints). */
  readonly noLocal: { readonly internal: number; readonly external: number };
}

export const emptyPlan: ServicePlan = {
  listeners: [],
  redirects: [],
  healthCheck: undefined,
  notes: [],
  noLocal: { internal: 0, external: 0 },
};

/** What only one Service can have: a frontend, or a port of the node (`nodePort:31269/TCP`). */
export type ResourceKey = string;

export function nodePortKey(port: number, protocol: Protocol): ResourceKey {
  return `nodePort:${port}/${protocol}`;
}

/** Rule S1: whether we proxy this Service. */
export function isOurs(service: Service, serviceProxyName: string | undefined): boolean {
  return service.type !== 'ExternalName' && !service.headless && service.proxyName === serviceProxyName;
}

/** Everything the Service claims for itself, whether or not it gets it. */
export function resourcesOf(service: Service): readonly ResourceKey[] {
  const { clusterIPs, externalIPs, loadBalancerIPs, healthCheckNodePort } = service;
  const addresses = [...clusterIPs, ...externalIPs, ...loadBalancerIPs];
  const keys: ResourceKey[] = healthCheckNodePort === undefined ? [] : [nodePortKey(healthCheckNodePort, 'TCP')];
  for (const port of service.ports) {
    const { protocol } = port;
    if (protocol === 'SCTP') continue;
    for (const address of addresses) keys.push(frontendKey({ address, port: port.port, protocol }));
    if (port.nodePort !== undefined) keys.push(nodePortKey(port.nodePort, protocol));
  }
  return keys;
}
