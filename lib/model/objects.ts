/**
 * Owns the Kubernetes objects as this program keeps them: parsed, frozen, and only the fields that are used.
 *
 *   API server, manifest files -> source/objects (parse) -> these -> ObjectStore -> plan
 */
import type { Ip, IpFamily } from '../config/address.js';

export type Protocol = 'TCP' | 'UDP';

/** `namespace/name`. */
export type ObjectKey = string;

export function objectKey(namespace: string, name: string): ObjectKey {
  // Joined, not added up: text that is added up stays in its pieces in memory, and keys are many.
  return [namespace, name].join('/');
}

export type TrafficPolicy = 'Cluster' | 'Local';

export interface Service {
  readonly key: ObjectKey;
  readonly namespace: string;
  readonly name: string;
  readonly type: 'ClusterIP' | 'NodePort' | 'LoadBalancer' | 'ExternalName';
  /** Empty for headless Services; one address a family, at most two. */
  readonly clusterIPs: readonly Ip[];
  readonly headless: boolean;
  readonly ports: readonly ServicePortSpec[];
  readonly internalTrafficPolicy: TrafficPolicy;
  readonly externalTrafficPolicy: TrafficPolicy;
  /** ClientIP affinity: time since last use, in milliseconds; undefined without affinity. */
  readonly affinityTimeoutMs: number | undefined;
  readonly externalIPs: readonly Ip[];
  /** LB ingress addresses with ipMode VIP (rule E9). */
  readonly loadBalancerIPs: readonly Ip[];
  /** CIDRs of either family that LB IPs may be dialled from; empty: any (rule E8). */
  readonly loadBalancerSourceRanges: readonly string[];
  /** Where external load balancers ask for local endpoints (rule H1), or undefined. */
  readonly healthCheckNodePort: number | undefined;
  /** `service.kubernetes.io/service-proxy-name`, or undefined. */
  readonly proxyName: string | undefined;
  /** RFC 3339 as in the object; '' where there is none. The older of two claimants keeps a port (rule C2). */
  readonly createdAt: string;
}

export interface ServicePortSpec {
  /** '' for the only port of a Service without names. */
  readonly name: string;
  /** SCTP is kept so that it can be reported (rule S6). */
  readonly protocol: Protocol | 'SCTP';
  readonly port: number;
  /** undefined where none is allocated. */
  readonly nodePort: number | undefined;
}

export interface EndpointSlice {
  readonly key: ObjectKey;
  /** The Service it belongs to, by label `kubernetes.io/service-name`. */
  readonly service: ObjectKey;
  readonly family: IpFamily;
  readonly ports: readonly EndpointPort[];
  /** A parsed slice has them packed: see `SliceEndpoints`. */
  readonly endpoints: Iterable<SliceEndpoint>;
  /** Made from a v1 Endpoints object; ignored where the Service has a slice of its own (rule S3). */
  readonly fromEndpoints: boolean;
  /** When what made it as it is happened in the cluster, in milliseconds since the epoch, where a controller says so. */
  readonly triggeredAtMs?: number;
}

export interface EndpointPort {
  readonly name: string;
  readonly protocol: Protocol | 'SCTP';
  readonly port: number;
}

export interface SliceEndpoint {
  /** `addresses[0]`: the others have no meaning for a proxy (rule S3). */
  readonly address: Ip;
  readonly ready: boolean;
  readonly serving: boolean;
  readonly terminating: boolean;
  readonly nodeName: string | undefined;
  readonly zoneHints: readonly string[];
  readonly nodeHints: readonly string[];
}

export interface Node {
  readonly name: string;
  /** Label `topology.kubernetes.io/zone`. */
  readonly zone: string | undefined;
  readonly internalIPs: readonly Ip[];
  /** CIDRs of the pods on it; empty where nobody assigns them. */
  readonly podCIDRs: readonly string[];
  /** False while it is being deleted, or tainted `ToBeDeletedByClusterAutoscaler` (rule H2). */
  readonly eligible: boolean;
}
