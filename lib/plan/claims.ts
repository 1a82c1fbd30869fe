/**
 * Owns which Service has what only one can have: a node port, or a cluster IP's port (rule C2: the older keeps it).
 *
 *   a Service's resources -> Claims.set -> Services whose standing changed -> they are planned again
 *
 * The cost of a call grows with the resources of the one Service and its rivals.
 */
import type { ObjectKey } from '../model/objects.js';
import type { ResourceKey } from './service-plan.js';

interface Claim {
  readonly service: ObjectKey;
  /** RFC 3339; '' (an object by hand) counts as younger than any time. */
  readonly createdAt: string;
  /** Order of arrival decides where times do not. */
  readonly arrival: number;
}

interface Claimed {
  readonly createdAt: string;
  readonly resources: readonly ResourceKey[];
}

const NO_CLAIMS: readonly Claim[] = [];

export class Claims {
  readonly #byResource = new Map<ResourceKey, readonly Claim[]>();
  readonly #byService = new Map<ObjectKey, Claimed>();
  #arrivals = 0;

  /** Replaces what a Service claims; returns the other Services that gained or lost something by it. */
  set(service: ObjectKey, createdAt: string, resources: readonly ResourceKey[]): ReadonlySet<ObjectKey> {
    const affected = new Set<ObjectKey>();
    const after = new Set(resources);
    const known = this.#byService.get(service);
    const before = new Set(known?.resources);
    // A Service of another age is another Service, of the same name.
    const isNew = known?.createdAt !== createdAt;
    for (const resource of before) if (isNew || !after.has(resource)) this.#release(service, resource, affected);
    for (const resource of after) {
      if (isNew || !before.has(resource)) this.#claim(service, createdAt, resource, affected);
    }
    if (after.size > 0) this.#byService.set(service, { createdAt, resources: [...after] });
    else this.#byService.delete(service);
    affected.delete(service);
    return affected;
  }

  /** The oldest claimant. */
  holderOf(resource: ResourceKey): ObjectKey | undefined {
    return this.#byResource.get(resource)?.[0]?.service;
  }

  #claim(service: ObjectKey, createdAt: string, resource: ResourceKey, affected: Set<ObjectKey>): void {
    const rivals = this.#byResource.get(resource) ?? NO_CLAIMS;
    const holder = rivals[0]?.service;
    const claims = rivals.concat({ service, createdAt, arrival: this.#arrivals++ }).sort(olderFirst);
    this.#byResource.set(resource, claims);
    if (holder !== undefined && claims[0]?.service !== holder) affected.add(holder);
  }

  #release(service: ObjectKey, resource: ResourceKey, affected: Set<ObjectKey>): void {
    const rivals = this.#byResource.get(resource) ?? [];
    const left = rivals.filter((claim) => claim.service !== service);
    const heir = left[0]?.service;
    if (heir !== undefined && rivals[0]?.service === service) affected.add(heir);
    if (left.length > 0) this.#byResource.set(resource, left);
    else this.#byResource.delete(resource);
  }
}

function olderFirst(a: Claim, b: Claim): number {
  if (a.createdAt === b.createdAt) return a.arrival - b.arrival;
  if (a.createdAt === '') return 1;
  if (b.createdAt === '') return -1;
  return a.createdAt < b.createdAt ? -1 : 1;
}
