/**
 * Owns what is in force: the objects of all files together, and what stays of the last look where a file is in disorder.
 *
 *   held before + files as they are now -> mergeFiles -> held now + faults
 *
 * Pure. A half-saved file must never cut traffic: what cannot be found in a file that does not parse stays as it was.
 */
import type { KubeObject } from '../objects/kube-object.js';
import { type ManifestFault, placeText } from './manifest-fault.js';
import type { FoundObject, ManifestFile } from './manifest-file.js';

export interface Held {
  readonly object: KubeObject;
  readonly file: string;
}

export interface Merged {
  /** By id: `Service work/saythx-redis`. */
  readonly held: Map<string, Held>;
  /** Held before, and now in no file. */
  readonly gone: readonly string[];
  readonly faults: readonly ManifestFault[];
}

interface Found extends FoundObject {
  readonly file: string;
}

/** `isHidden` says of a file that was not read whether it may be there all the same. */
export function mergeFiles(
  before: ReadonlyMap<string, Held>,
  files: readonly ManifestFile[],
  isHidden: (file: string) => boolean,
): Merged {
  const held = new Map<string, Held>();
  const faults: ManifestFault[] = [];
  const nameless: Found[] = [];
  const first = new Map<string, Found>();
  for (const found of files.flatMap(({ file, objects }) => objects.map((one): Found => ({ ...one, file })))) {
    const { id, file, object } = found;
    const winner = id === undefined ? undefined : first.get(id);
    if (id === undefined) nameless.push(found);
    else if (winner !== undefined) faults.push(repeated(found, winner));
    else {
      first.set(id, found);
      const last = before.get(id)?.object;
      const inForce = object ?? last;
      if (inForce !== undefined) held.set(id, { object: inForce, file });
      faults.push(...faultsOf(found, last === undefined ? '' : '; the last good version stays in force'));
    }
  }
  const { kept, gone } = missing(before, held, files, isHidden);
  for (const [id, last] of kept) held.set(id, last);
  const staying = countsByFile(kept);
  for (const found of nameless) faults.push(...faultsOf(found, stays(staying.get(found.file))));
  for (const file of files) {
    faults.push(...file.faults.map((one) => ({ ...one, message: one.message + stays(staying.get(file.file)) })));
  }
  return { held, gone, faults: inOrder(faults, files) };
}

function faultsOf({ file, title, faults }: Found, consequence: string): ManifestFault[] {
  return faults.map(({ line, column, path, message }) => {
    return { file, line, column, object: title, path, message: message + consequence };
  });
}

function repeated({ file, line, column, title }: Found, winner: Found): ManifestFault {
  const place = placeText(winner.file, winner.line, winner.column);
  const message = `expected to stand once, got it again after ${place}, which is used`;
  return { file, line, column, object: title, path: '', message };
}

function missing(
  before: ReadonlyMap<string, Held>,
  held: ReadonlyMap<string, Held>,
  files: readonly ManifestFile[],
  isHidden: (file: string) => boolean,
): { readonly kept: ReadonlyMap<string, Held>; readonly gone: readonly string[] } {
  const complete = new Map(files.map((one) => [one.file, one.complete]));
  const kept = new Map<string, Held>();
  const gone: string[] = [];
  for (const [id, last] of before) {
    if (held.has(id)) continue;
    const isComplete = complete.get(last.file) ?? !isHidden(last.file);
    if (isComplete) gone.push(id);
    else kept.set(id, last);
  }
  return { kept, gone };
}

function countsByFile(kept: ReadonlyMap<string, Held>): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const { file } of kept.values()) counts.set(file, (counts.get(file) ?? 0) + 1);
  return counts;
}

function stays(count: number | undefined): string {
  return count === undefined ? '' : `; what is missing of the file stays as it was (objects: ${count})`;
}

/** By file, then line, as an editor would walk through them. */
function inOrder(faults: readonly ManifestFault[], files: readonly ManifestFile[]): readonly ManifestFault[] {
  const rank = new Map(files.map(({ file }, index) => [file, index]));
  return faults.toSorted((one, two) => (rank.get(one.file) ?? 0) - (rank.get(two.file) ?? 0) || one.line - two.line);
}
