/** Owns valid Kubernetes objects as JSON, to be bent by specs. */

export interface Json {
  [name: string]: unknown;
}

export function serviceJson(spec: Json = {}, over: Json = {}): Json {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'saythx-redis', namespace: 'work' },
    spec: { ports: [{ name: 'redis', port: 6379 }], ...spec },
    ...over,
  };
}

export function sliceJson(over: Json = {}, metadata: Json = {}): Json {
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      name: 'saythx-redis-1',
      namespace: 'work',
      labels: { 'kubernetes.io/service-name': 'saythx-redis' },
      ...metadata,
    },
    addressType: 'IPv4',
    ports: [{ name: 'redis', port: 6379, protocol: 'TCP' }],
    endpoints: [{ addresses: ['10.244.1.11'] }],
    ...over,
  };
}

export function endpointsJson(subsets: unknown, over: Json = {}): Json {
  return {
    apiVersion: 'v1',
    kind: 'Endpoints',
    metadata: { name: 'saythx-redis', namespace: 'work' },
    subsets,
    ...over,
  };
}

export function nodeJson(over: Json = {}): Json {
  return { apiVersion: 'v1', kind: 'Node', metadata: { name: 'node-a' }, ...over };
}
