/**
 * Owns reading manifests once, without watching: what `kproxy-us check` reports on.
 *
 *   paths -> listFiles -> readManifestFile -> mergeFiles -> Manifests
 */
import type { EndpointSlice, Node, Service } from '../../model/objects.js';
import type { KubeObject } from '../objects/kube-object.js';
import { type Listing, listFiles } from './listing.js';
import type { ManifestFault } from './manifest-fault.js';
import { type ManifestFile, readManifestFile } from './manifest-file.js';
import { type Merged, mergeFiles } from './merge.js';

export interface Manifests {
  readonly services: readonly Service[];
  readonly slices: readonly EndpointSlice[];
  readonly nodes: readonly Node[];
  /** Paths that do not exist are among them. */
  readonly faults: readonly ManifestFault[];
  /** How many objects of other kinds there are: `apps/v1 Deployment` -> 3. */
  readonly ignored: ReadonlyMap<string, number>;
}

export async function loadManifests(paths: readonly string[]): Promise<Manifests> {
  const listing = await listFiles(paths);
  const files = await readFiles(listing, new Map());
  const { held, faults }: Merged = mergeFiles(new Map(), files, () => false);
  return {
    ...objectsOf([...held.values()].map(({ object }) => object)),
    faults: [...listingFaults(listing), ...faults],
    ignored: countIgnored(files),
  };
}

/** Files that are gone by now are left out. `before`: as they were last read, by their path. */
export async function readFiles(
  { files }: Listing,
  before: ReadonlyMap<string, ManifestFile>,
): Promise<readonly ManifestFile[]> {
  const read: ManifestFile[] = [];
  for (const file of files) {
    const content = await readManifestFile(file, before.get(file));
    if (content !== undefined) read.push(content);
  }
  return read;
}

export function listingFaults({ missing, unreadable }: Listing): readonly ManifestFault[] {
  const absent = missing.map((path) => ({ path, fault: 'expected a file or directory, got nothing' }));
  return [...absent, ...unreadable].map(({ path, fault }) => {
    return { file: path, line: 0, column: 0, object: '', path: '', message: fault };
  });
}

export function objectsOf(objects: Iterable<KubeObject>): Pick<Manifests, 'services' | 'slices' | 'nodes'> {
  const all: { services: Service[]; slices: EndpointSlice[]; nodes: Node[] } = { services: [], slices: [], nodes: [] };
  for (const object of objects) {
    if (object.kind === 'Service') all.services.push(object.service);
    else if (object.kind === 'Node') all.nodes.push(object.node);
    else all.slices.push(...object.slices);
  }
  return all;
}

export function countIgnored(files: readonly ManifestFile[]): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const kind of files.flatMap(({ ignored }) => ignored)) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  return counts;
}
