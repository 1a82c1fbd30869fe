/** Owns short ways to write model objects in specs: a Service as the course has it, and slices for it. */
import type { EndpointSlice, Service, ServicePortSpec, SliceEndpoint } from '../../lib/model/objects.js';

/** `saythx-redis` in `work`: `6379:31269/TCP`, cluster IP 10.96.0.10. */
export function redisService(over: Partial<Service> = {}): Service {
  const namespace = over.namespace ?? 'work';
  const name = over.name ?? 'saythx-redis';
  return {
    key: `${namespace}/${name}`,
    namespace,
    name,
    type: 'NodePort',
    clusterIPs: ['10.96.0.10'],
    headless: false,
    ports: [servicePort()],
    internalTrafficPolicy: 'Cluster',
    externalTrafficPolicy: 'Cluster',
    affinityTimeoutMs: undefined,
    externalIPs: [],
    loadBalancerIPs: [],
    loadBalancerSourceRanges: [],
    healthCheckNodePort: undefined,
    proxyName: undefined,
    createdAt: '',
    ...over,
  };
}

export function servicePort(over: Partial<ServicePortSpec> = {}): ServicePortSpec {
  return { name: 'redis', protocol: 'TCP', port: 6379, nodePort: 31269, ...over };
}

/** A slice of `work/saythx-redis`; an address alone is a ready endpoint on `node-a`. */
export function redisSlice(
  endpoints: readonly (string | Partial<SliceEndpoint>)[],
  over: Partial<EndpointSlice> = {},
): EndpointSlice {
  return {
    key: 'work/saythx-redis-1',
    service: 'work/saythx-redis',
    family: 'IPv4',
    ports: [{ name: 'redis', protocol: 'TCP', port: 6379 }],
    endpoints: endpoints.map((one) => sliceEndpoint(typeof one === 'string' ? { address: one } : one)),
    fromEndpoints: false,
    ...over,
  };
}

export function sliceEndpoint(over: Partial<SliceEndpoint> = {}): SliceEndpoint {
  const defaults = { address: '10.244.1.11', nodeName: 'node-a', zoneHints: [], nodeHints: [] };
  return { ...defaults, ready: true, serving: true, terminating: false, ...over };
}
