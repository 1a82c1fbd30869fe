/**
 * Owns the resources we follow: where they stand in the API, which of them we ask for, how one is read, and what is lost without.
 *
 *   options -> Resource -> Reflector (list, watch) -> read(JSON) -> ReadObject -> StoreMirror
 */

import { objectKey } from '../../model/objects.js';
import { parseEndpointSlice } from '../objects/endpoint-slice.js';
import { parseEndpoints } from '../objects/endpoints.js';
import type { Parsed } from '../objects/fault.js';
import type { KubeKind, KubeObject } from '../objects/kube-object.js';
import { parseNode } from '../objects/node.js';
import { field } from '../objects/raw.js';
import { parseService } from '../objects/service.js';

export interface Resource {
  readonly kind: KubeKind;
  /** As RBAC names it: `endpointslices.discovery.k8s.io`. */
  readonly name: string;
  readonly path: string;
  readonly selectors: Readonly<Record<string, string>>;
  /** What does not work where we may not read it. */
  readonly lostWithout: string;
  readonly parse: (json: unknown) => Parsed<KubeObject>;
}

/** Rule S1: with the label as kube-proxy asks for it, on Services and, whose controllers copy it, on slices and Endpoints. */
function labelSelector(proxyName: string | undefined): Record<string, string> {
  const label = 'service.kubernetes.io/service-proxy-name';
  const ours = proxyName === undefined ? `!${label}` : `${label}=${proxyName}`;
  return { labelSelector: `!service.kubernetes.io/headless,${ours}` };
}

/** A name in a cluster's object must not lead into the node that reads it. */
const FROM_API = { allowLoopback: false };

export function services(proxyName: string | undefined): Resource {
  return {
    kind: 'Service',
    name: 'services',
    path: '/api/v1/services',
    selectors: labelSelector(proxyName),
    lostWithout: 'all Services',
    parse: (json) => mapped(parseService(json), (service) => ({ kind: 'Service', service })),
  };
}

export function endpointSlices(proxyName: string | undefined): Resource {
  return {
    kind: 'EndpointSlice',
    name: 'endpointslices.discovery.k8s.io',
    path: '/apis/discovery.k8s.io/v1/endpointslices',
    selectors: labelSelector(proxyName),
    lostWithout: 'the backends of Services',
    parse: (json) =>
      mapped(parseEndpointSlice(json, FROM_API), (slice) => {
        return { kind: 'EndpointSlice', slices: slice === undefined ? [] : [slice] };
      }),
  };
}

/** Rule S3: where discovery.k8s.io/v1 is not served. */
export function endpoints(proxyName: string | undefined): Resource {
  return {
    kind: 'Endpoints',
    name: 'endpoints',
    path: '/api/v1/endpoints',
    selectors: labelSelector(proxyName),
    lostWithout: 'the backends of Services',
    parse: (json) => mapped(parseEndpoints(json, FROM_API), (slices) => ({ kind: 'Endpoints', slices })),
  };
}

export function ownNode(nodeName: string): Resource {
  return {
    kind: 'Node',
    name: 'nodes',
    path: '/api/v1/nodes',
    selectors: { fieldSelector: `metadata.name=${nodeName}` },
    lostWithout: 'zone hints, --nodeport-addresses primary, and health that follows the Node',
    parse: (json) => mapped(parseNode(json), (node) => ({ kind: 'Node', node })),
  };
}

/** An object as it came, and what it is to us. */
export interface ReadObject {
  /** `namespace/name`, or the name of a Node. */
  readonly id: string;
  readonly parsed: Parsed<KubeObject>;
}

/** undefined where the object does not say who it is. */
export function readObject(resource: Resource, json: unknown): ReadObject | undefined {
  const id = identityOf(json);
  if (id === undefined) return undefined;
  const parsed = resource.parse(json);
  return { id: sameText(id, parsed), parsed };
}

/** The key of the object itself where it is the same: one text instead of two. */
function sameText(id: string, parsed: Parsed<KubeObject>): string {
  if (!('ok' in parsed) || parsed.ok.kind === 'Node') return id;
  const key = parsed.ok.kind === 'Service' ? parsed.ok.service.key : parsed.ok.slices[0]?.key;
  return key === id ? key : id;
}

export function identityOf(json: unknown): string | undefined {
  const name = field(json, 'metadata', 'name');
  const namespace = field(json, 'metadata', 'namespace');
  if (typeof name !== 'string' || name === '') return undefined;
  if (namespace === undefined) return name;
  return typeof namespace === 'string' ? objectKey(namespace, name) : undefined;
}

function mapped<T>(parsed: Parsed<T>, to: (value: T) => KubeObject): Parsed<KubeObject> {
  return 'ok' in parsed ? { ok: to(parsed.ok) } : parsed;
}
