/**
 * Owns the objects as last seen, and which Services are dirty. Sources fill it, the reconciler empties the dirty marks.
 *
 *   manifests, reflector -> set, delete -> ObjectStore -> onChange(service key) -> reconciler -> service(), slicesOf()
 *
 * The cost of a change is that of the one Service it touches, however many there are.
 */
import type { EndpointSlice, Node, ObjectKey, Service } from '../model/objects.js';

export type ChangeKind = 'service' | 'endpoints' | 'node';

export interface StoreListener {
  /** Called synchronously for every change of a Service or of one of its slices; the objects are already in place. */
  serviceChanged(service: ObjectKey, kind: ChangeKind): void;
  /** Our Node changed or went. */
  nodeChanged(): void;
  /** The first full lists are in (rule Y1). Called once. */
  synced(): void;
}

const NO_SLICES: readonly EndpointSlice[] = [];

export class ObjectStore {
  readonly #services = new Map<ObjectKey, Service>();
  readonly #slices = new Map<ObjectKey, EndpointSlice>();
  readonly #slicesByService = new Map<ObjectKey, Map<ObjectKey, EndpointSlice>>();
  readonly #nodes = new Map<string, Node>();
  readonly #listeners: StoreListener[] = [];
  #synced = false;

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

  setService(service: Service): void {
    this.#services.set(service.key, service);
    this.#changed(service.key, 'service');
  }

  deleteService(key: ObjectKey): void {
    if (this.#services.delete(key)) this.#changed(key, 'service');
  }

  /** Stores a slice; one whose Service label changed leaves its former Service. */
  setSlice(slice: EndpointSlice): void {
    const before = this.#slices.get(slice.key);
    if (before !== undefined && before.service !== slice.service) this.deleteSlice(slice.key);
    this.#slices.set(slice.key, slice);
    let ofService = this.#slicesByService.get(slice.service);
    if (ofService === undefined) {
      ofService = new Map();
      this.#slicesByService.set(slice.service, ofService);
    }
    ofService.set(slice.key, slice);
    this.#changed(slice.service, 'endpoints');
  }

  deleteSlice(key: ObjectKey): void {
    const slice = this.#slices.get(key);
    if (slice === undefined) return;
    this.#slices.delete(key);
    const ofService = this.#slicesByService.get(slice.service);
    ofService?.delete(key);
    if (ofService?.size === 0) this.#slicesByService.delete(slice.service);
    this.#changed(slice.service, 'endpoints');
  }

  setNode(node: Node): void {
    this.#nodes.set(node.name, node);
    for (const listener of this.#listeners) listener.nodeChanged();
  }

  deleteNode(name: string): void {
    if (!this.#nodes.delete(name)) return;
    for (const listener of this.#listeners) listener.nodeChanged();
  }

  service(key: ObjectKey): Service | undefined {
    return this.#services.get(key);
  }

  /** The slices that count for a Service: its own, or those made from its Endpoints where it has none (rule S3). */
  slicesOf(service: ObjectKey): readonly EndpointSlice[] {
    const all = this.#slicesByService.get(service);
    if (all === undefined) return NO_SLICES;
    const slices = [...all.values()];
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
    for (const listener of this.#listeners) listener.serviceChanged(service, kind);
  }
}
