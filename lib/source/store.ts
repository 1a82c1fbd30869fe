/**
 * Owns the objects as last seen, and which Services are dirty. Sources fill it, the reconciler empties the dirty marks.
 *
 *   manifests, reflector -> set, delete -> ObjectStore -> onChange(service key) -> reconciler -> service(), slicesOf()
 *
 * The cost of a change is that of the one Service it touches, however many there are. An object that is set again without
 * a change of value (a relist, a heartbeat, a file saved as it was) marks nothing.
 */
import { isDeepStrictEqual } from 'node:util';
import type { EndpointSlice, Node, ObjectKey, Service } from '../model/objects.js';

export type ChangeKind = 'service' | 'endpoints';

export interface StoreListener {
  /**
   * Called synchronously for every change of a Service or of one of its slices, or at the end of a batch once for each
   * Service and kind; the objects are already in place.
   */
  serviceChanged(service: ObjectKey, kind: ChangeKind): void;
  /** Our Node changed or went. */
  nodeChanged(): void;
  /** The first full lists are in (rule Y1). Called once. */
  synced(): void;
}

interface Batch {
  readonly services: Set<ObjectKey>;
  readonly endpoints: Set<ObjectKey>;
  node: boolean;
  count: number;
}

const NO_SLICES: readonly EndpointSlice[] = [];

export class ObjectStore {
  readonly #services = new Map<ObjectKey, Service>();
  readonly #slices = new Map<ObjectKey, EndpointSlice>();
  readonly #slicesByService = new Map<ObjectKey, readonly EndpointSlice[]>();
  readonly #nodes = new Map<string, Node>();
  readonly #listeners: StoreListener[] = [];
  #synced = false;
  /** Changes of the batch under way, which its end reports; undefined outside of one. */
  #batch: Batch | undefined;

  get isSynced(): boolean {
    return this.#synced;
  }

  subscribe(listener: StoreListener): void {
    this.#listeners.push(listener);
    if (this.#synced) listener.synced();
  }

  markSynced(): void {
    if (this.#synced) return;
    this.#synced = true;
    for (const listener of this.#listeners) listener.synced();
  }

  /**
   * Runs `changes` and reports them when all are in place: no listener sees an endpoint that moves between two slices in
   * neither of them (rule S5). Returns how many objects changed. A batch inside of a batch is part of it.
   */
  batch(changes: () => void): number {
    if (this.#batch !== undefined) {
      const before = this.#batch.count;
      changes();
      return this.#batch.count - before;
    }
    const batch: Batch = { services: new Set(), endpoints: new Set(), node: false, count: 0 };
    this.#batch = batch;
    try {
      changes();
    } finally {
      this.#batch = undefined;
      for (const key of batch.services) this.#tell(key, 'service');
      for (const key of batch.endpoints) this.#tell(key, 'endpoints');
      if (batch.node) this.#tellNode();
    }
    return batch.count;
  }

  setService(service: Service): void {
    if (isDeepStrictEqual(this.#services.get(service.key), service)) return;
    this.#services.set(service.key, service);
    this.#changed(service.key, 'service');
  }

  deleteService(key: ObjectKey): void {
    if (this.#services.delete(key)) this.#changed(key, 'service');
  }

  /** Stores a slice; one whose Service label changed leaves its former Service. */
  setSlice(slice: EndpointSlice): void {
    const before = this.#slices.get(slice.key);
    if (isDeepStrictEqual(before, slice)) return;
    if (before !== undefined && before.service !== slice.service) this.deleteSlice(slice.key);
    this.#slices.set(slice.key, slice);
    const ofService = this.#slicesByService.get(slice.service) ?? NO_SLICES;
    const at = ofService.findIndex(({ key }) => key === slice.key);
    this.#slicesByService.set(slice.service, at < 0 ? ofService.concat(slice) : ofService.with(at, slice));
    this.#changed(slice.service, 'endpoints');
  }

  deleteSlice(key: ObjectKey): void {
    const slice = this.#slices.get(key);
    if (slice === undefined) return;
    this.#slices.delete(key);
    const left = (this.#slicesByService.get(slice.service) ?? NO_SLICES).filter((one) => one.key !== key);
    if (left.length > 0) this.#slicesByService.set(slice.service, left);
    else this.#slicesByService.delete(slice.service);
    this.#changed(slice.service, 'endpoints');
  }

  setNode(node: Node): void {
    if (isDeepStrictEqual(this.#nodes.get(node.name), node)) return;
    this.#nodes.set(node.name, node);
    this.#nodeChanged();
  }

  deleteNode(name: string): void {
    if (this.#nodes.delete(name)) this.#nodeChanged();
  }

  service(key: ObjectKey): Service | undefined {
    return this.#services.get(key);
  }

  /** The slices that count for a Service: its own, or those made from its Endpoints where it has none (rule S3). */
  slicesOf(service: ObjectKey): readonly EndpointSlice[] {
    const slices = this.#slicesByService.get(service) ?? NO_SLICES;
    const own = slices.filter((slice) => !slice.fromEndpoints);
    return own.length > 0 ? own : slices;
  }

  node(name: string): Node | undefined {
    return this.#nodes.get(name);
  }

  services(): IterableIterator<Service> {
    return this.#services.values();
  }

  #changed(service: ObjectKey, kind: ChangeKind): void {
    if (this.#batch === undefined) this.#tell(service, kind);
    else {
      this.#batch.count++;
      this.#batch[kind === 'service' ? 'services' : 'endpoints'].add(service);
    }
  }

  #nodeChanged(): void {
    if (this.#batch === undefined) this.#tellNode();
    else {
      this.#batch.count++;
      this.#batch.node = true;
    }
  }

  #tell(service: ObjectKey, kind: ChangeKind): void {
    for (const listener of this.#listeners) listener.serviceChanged(service, kind);
  }

  #tellNode(): void {
    for (const listener of this.#listeners) listener.nodeChanged();
  }
}
