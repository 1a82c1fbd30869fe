/**
 * Owns what a scripted API server knows: objects, and every change of them under a resource version of its own.
 *
 *   put, delete -> Change -> history (until compact) -> watches
 */

export interface KubeJson {
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly [field: string]: unknown;
  };
  readonly [field: string]: unknown;
}

export interface ResourceType {
  readonly apiVersion: string;
  readonly kind: string;
  readonly path: string;
}

/** By the name that specs use. */
export const TYPES = {
  services: { apiVersion: 'v1', kind: 'Service', path: '/api/v1/services' },
  endpoints: { apiVersion: 'v1', kind: 'Endpoints', path: '/api/v1/endpoints' },
  nodes: { apiVersion: 'v1', kind: 'Node', path: '/api/v1/nodes' },
  slices: {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    path: '/apis/discovery.k8s.io/v1/endpointslices',
  },
} as const satisfies Record<string, ResourceType>;

export type TypeName = keyof typeof TYPES;

export interface HistoryChange {
  readonly type: TypeName;
  readonly version: number;
  /** As it is now; of a deletion, as it was last. */
  readonly object: KubeJson;
  readonly before: KubeJson | undefined;
  readonly isDeletion: boolean;
}

export class History {
  readonly #objects = new Map<TypeName, Map<string, KubeJson>>();
  readonly #listeners = new Set<(change: HistoryChange) => void>();
  #changes: HistoryChange[] = [];
  #version: number;
  /** Watches from before this are Gone. */
  #oldest: number;

  constructor(version = 100) {
    this.#version = version;
    this.#oldest = version;
  }

  get version(): number {
    return this.#version;
  }

  get oldest(): number {
    return this.#oldest;
  }

  all(type: TypeName): readonly KubeJson[] {
    return [...(this.#objects.get(type)?.values() ?? [])];
  }

  /** Creates or replaces; returns its resource version. */
  put(type: TypeName, json: unknown): number {
    const { apiVersion, kind } = TYPES[type];
    const given = json as KubeJson;
    const version = ++this.#version;
    const object = { apiVersion, kind, ...given, metadata: { ...given.metadata, resourceVersion: `${version}` } };
    const ofType = this.#ofType(type);
    const before = ofType.get(keyOf(object));
    ofType.set(keyOf(object), object);
    this.#tell({ type, version, object, before, isDeletion: false });
    return version;
  }

  delete(type: TypeName, key: string): void {
    const before = this.#ofType(type).get(key);
    if (before === undefined) return;
    const version = ++this.#version;
    this.#ofType(type).delete(key);
    const object = { ...before, metadata: { ...before.metadata, resourceVersion: `${version}` } };
    this.#tell({ type, version, object, before, isDeletion: true });
  }

  /** Time passes elsewhere: versions go on without a change of these types. */
  skip(versions: number): void {
    this.#version += versions;
  }

  /** Forgets how it came to be as it is: who knows an older version must list anew. */
  compact(): void {
    this.#changes = [];
    this.#oldest = this.#version;
  }

  since(type: TypeName, version: number): readonly HistoryChange[] {
    return this.#changes.filter((change) => change.type === type && change.version > version);
  }

  /** Another history with the same present, at a version of its own, as after restoring a backup. */
  restored(version: number): History {
    const copy = new History(version);
    for (const [type, objects] of this.#objects) {
      for (const [key, object] of objects) copy.#ofType(type).set(key, object);
    }
    return copy;
  }

  subscribe(listener: (change: HistoryChange) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #ofType(type: TypeName): Map<string, KubeJson> {
    let objects = this.#objects.get(type);
    if (objects === undefined) {
      objects = new Map();
      this.#objects.set(type, objects);
    }
    return objects;
  }

  #tell(change: HistoryChange): void {
    this.#changes.push(change);
    for (const listener of [...this.#listeners]) listener(change);
  }
}

export function keyOf({ metadata }: KubeJson): string {
  return metadata.namespace === undefined ? metadata.name : `${metadata.namespace}/${metadata.name}`;
}
