/**
 * Owns telling objects apart: one document of a manifest, which may be a List, into the objects it holds.
 *
 *   untrusted JSON -> List? -> items -> by apiVersion and kind -> parser -> ObjectItem: value | faults | not for us
 */
import type { EndpointSlice, Node, Service } from '../../model/objects.js';
import { type ObjectOptions, parseEndpointSlice } from './endpoint-slice.js';
import { parseEndpoints } from './endpoints.js';
import { describe, type Fault, failed, fault, type Parsed, type Path } from './fault.js';
import * as fields from './fields.js';
import { parseNode } from './node.js';
import { field, items } from './raw.js';
import { parseService } from './service.js';

export type KubeKind = 'Service' | 'EndpointSlice' | 'Endpoints' | 'Node';

export type KubeObject =
  | { readonly kind: 'Service'; readonly service: Service }
  /** None where the slice is not for us (rule S3). */
  | { readonly kind: 'EndpointSlice' | 'Endpoints'; readonly slices: readonly EndpointSlice[] }
  | { readonly kind: 'Node'; readonly node: Node };

export interface ObjectItem {
  /** Where it stands in the document: empty, or `items` and its position. */
  readonly path: Path;
  /** `Service work/saythx-redis`; where the name is bad, as much as can be said. Safe to print. */
  readonly title: string;
  /** The title where it names the object without doubt. */
  readonly id: string | undefined;
  readonly parsed: Parsed<KubeObject>;
}

export interface Objects {
  readonly items: readonly ObjectItem[];
  /** Titles of objects of other kinds, `apps/v1 Deployment`. */
  readonly ignored: readonly string[];
}

const VERSIONS: Readonly<Record<KubeKind, string>> = {
  Service: 'v1',
  EndpointSlice: 'discovery.k8s.io/v1',
  Endpoints: 'v1',
  Node: 'v1',
};

function isKubeKind(kind: unknown): kind is KubeKind {
  return typeof kind === 'string' && Object.hasOwn(VERSIONS, kind);
}

/** A kind of ours in one of our groups; `serving.knative.dev/v1 Service` is somebody else's. */
function isOurs(apiVersion: unknown, kind: unknown): kind is KubeKind {
  if (!isKubeKind(kind)) return false;
  return typeof apiVersion !== 'string' || !apiVersion.includes('/') || apiVersion.startsWith('discovery.k8s.io/');
}

/** Reads one document; never throws, whatever the JSON. */
export function parseObjects(json: unknown, options: ObjectOptions): Objects {
  const listOf = listedKind(json);
  if (listOf === undefined) return collect([{ path: [], json, ...typeOf(json) }], options);
  const all = field(json, 'items');
  if (all !== undefined && !Array.isArray(all)) {
    const faults = [fault(['items'], 'a list', all)];
    return { items: [{ path: [], title: `${listOf.kind ?? ''}List`, id: undefined, parsed: { faults } }], ignored: [] };
  }
  // The entries of a typed list say their kind as a rule only in files, never in the API.
  const entries = items(all).map((one, index) => {
    const { apiVersion = listOf.apiVersion, kind = listOf.kind } = typeOf(one);
    return { path: ['items', index], json: one, apiVersion, kind };
  });
  return collect(entries, options);
}

interface Typed {
  readonly apiVersion?: unknown;
  readonly kind?: unknown;
}

interface Entry extends Typed {
  readonly path: Path;
  readonly json: unknown;
}

function typeOf(json: unknown): Typed {
  return { apiVersion: field(json, 'apiVersion'), kind: field(json, 'kind') };
}

/** What the entries of a list are: nothing is said of those of `kind: List`; undefined where it is no list for us. */
function listedKind(json: unknown): Typed | undefined {
  const { apiVersion, kind } = typeOf(json);
  if (kind === 'List') return {};
  if (typeof kind !== 'string' || !kind.endsWith('List')) return undefined;
  const one = kind.slice(0, -'List'.length);
  return isOurs(apiVersion, one) ? { apiVersion, kind: one } : undefined;
}

function collect(entries: readonly Entry[], options: ObjectOptions): Objects {
  const found: ObjectItem[] = [];
  const ignored: string[] = [];
  for (const entry of entries) {
    const { path, json, apiVersion, kind } = entry;
    if (isOurs(apiVersion, kind)) found.push(parseKind(kind, entry, options));
    else if (typeof kind !== 'string' || typeof apiVersion !== 'string' || kind === 'List') {
      const faults = [kind === 'List' ? fault(['kind'], 'an object, no list inside a list', kind) : noType(entry)];
      found.push({ path, title: titleOf(kind, json), id: undefined, parsed: { faults } });
    } else ignored.push(`${wordOf(apiVersion)} ${wordOf(kind)}`);
  }
  return { items: found, ignored };
}

function noType({ json, apiVersion, kind }: Entry): Fault {
  if (typeof json !== 'object' || json === null || Array.isArray(json)) return fault([], 'a Kubernetes object', json);
  if (typeof kind !== 'string') return fault(['kind'], 'a kind such as Service', kind);
  return fault(['apiVersion'], 'a version such as v1', apiVersion);
}

function parseKind(kind: KubeKind, { path, json, apiVersion }: Entry, options: ObjectOptions): ObjectItem {
  const title = titleOf(kind, json);
  const parsed = parseAs(kind, json, options);
  const identity = fields.check(kind === 'Node' ? nodeIdentity : identitySchema, json);
  const id = 'value' in identity ? title : undefined;
  if (apiVersion === VERSIONS[kind]) return { path, title, id, parsed };
  const wrong = fault(['apiVersion'], VERSIONS[kind], apiVersion);
  return { path, title, id, parsed: failed([wrong, ...('faults' in parsed ? parsed.faults : [])]) };
}

function parseAs(kind: KubeKind, json: unknown, options: ObjectOptions): Parsed<KubeObject> {
  switch (kind) {
    case 'Service':
      return mapped(parseService(json), (service) => ({ kind, service }));
    case 'EndpointSlice':
      return mapped(parseEndpointSlice(json, options), (slice) => ({
        kind,
        slices: slice === undefined ? [] : [slice],
      }));
    case 'Endpoints':
      return mapped(parseEndpoints(json, options), (slices) => ({ kind, slices }));
    case 'Node':
      return mapped(parseNode(json), (node) => ({ kind, node }));
  }
}

function mapped<T>(parsed: Parsed<T>, to: (value: T) => KubeObject): Parsed<KubeObject> {
  return 'ok' in parsed ? { ok: to(parsed.ok) } : parsed;
}

const nodeIdentity = fields.object({ metadata: fields.object({ name: fields.subdomain }) });
const identitySchema = fields.object({
  metadata: fields.object({ name: fields.subdomain, namespace: fields.namespace }),
});

/** `Service work/saythx-redis`, `Node node-a`; what is no plain word is quoted. */
function titleOf(kind: unknown, json: unknown): string {
  const name = field(json, 'metadata', 'name');
  const namespace = field(json, 'metadata', 'namespace') || 'default';
  const words = [kind === undefined ? 'object' : wordOf(kind)];
  if (name !== undefined) words.push(kind === 'Node' ? wordOf(name) : `${wordOf(namespace)}/${wordOf(name)}`);
  return words.join(' ');
}

function wordOf(text: unknown): string {
  return typeof text === 'string' && /^[\w./-]{1,253}$/.test(text) ? text : describe(text);
}
