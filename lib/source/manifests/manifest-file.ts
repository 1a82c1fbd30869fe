/**
 * Owns what one file says: its objects with their places, and its faults.
 *
 *   bytes -> text -> pieces -> (read before? as it was) -> documents -> objects -> ManifestFile
 *
 * What was read is kept by the digest of each document: an edit of one among thousands costs that one.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { type Path, pathText } from '../objects/fault.js';
import { type KubeObject, type ObjectItem, parseObjects } from '../objects/kube-object.js';
import { type Document, type Place, readDocument, splitDocuments } from './documents.js';
import { decodeUtf8, digestOf, readBytes } from './file-text.js';
import type { ManifestFault } from './manifest-fault.js';

/** An object of a file, or what should have been one. Lines count from the start of the file. */
export interface FoundObject extends Place {
  readonly title: string;
  /** undefined where it cannot be told which object it is. */
  readonly id: string | undefined;
  /** undefined where it has faults. */
  readonly object: KubeObject | undefined;
  readonly faults: readonly PlacedFault[];
}

export interface PlacedFault extends Place {
  readonly path: string;
  readonly message: string;
}

export interface ManifestFile {
  readonly file: string;
  readonly digest: string;
  readonly objects: readonly FoundObject[];
  /** Of the file and its documents, not of its objects. */
  readonly faults: readonly ManifestFault[];
  /** False where it may hold objects that were not found: a syntax error, a bad name, a read that failed. */
  readonly complete: boolean;
  /** Objects of kinds that a proxy has no use for: `apps/v1 Deployment`. */
  readonly ignored: readonly string[];
  readonly pieces: ReadonlyMap<string, PieceContent>;
}

/** What one document says, with lines that count from its own start. */
export interface PieceContent {
  readonly objects: readonly FoundObject[];
  readonly fault: PlacedFault | undefined;
  readonly ignored: readonly string[];
}

/** Reading gives way to other work after this time. */
const TURN_MS = 20;

/** undefined where there is no such file, or where it is a directory. `before` is the same file as it was last read. */
export async function readManifestFile(file: string, before?: ManifestFile): Promise<ManifestFile | undefined> {
  const read = await readBytes(file);
  if (read.kind === 'gone' || read.kind === 'directory') return undefined;
  if (read.kind === 'unreadable') return unreadable(file, read.fault, before);
  if (read.digest === before?.digest) return before;
  const text = decodeUtf8(read.bytes);
  if (text === undefined) return unreadable(file, 'expected UTF-8 text, got bytes that are none', before);

  const pieces = new Map<string, PieceContent>();
  const found: { piece: PieceContent; line: number }[] = [];
  let turnEndsAtMs = performance.now() + TURN_MS;
  for (const { text: piece, line } of splitDocuments(text)) {
    const digest = digestOf(piece);
    const content = pieces.get(digest) ?? before?.pieces.get(digest) ?? readPiece(readDocument(piece));
    pieces.set(digest, content);
    found.push({ piece: content, line });
    if (performance.now() < turnEndsAtMs) continue;
    await nextTurn();
    turnEndsAtMs = performance.now() + TURN_MS;
  }
  const objects = found.flatMap(({ piece, line }) => piece.objects.map((object) => moved(object, line)));
  const faults = found.flatMap(({ piece: { fault }, line }) =>
    fault === undefined ? [] : [{ file, object: '', ...fault, line: fault.line + line - 1 }],
  );
  return {
    file,
    digest: read.digest,
    objects,
    faults,
    complete: faults.length === 0 && objects.every(isKnown),
    ignored: found.flatMap(({ piece }) => piece.ignored),
    pieces,
  };
}

/** What is not for us needs no name. */
function isKnown({ id, object }: FoundObject): boolean {
  return id !== undefined || object !== undefined;
}

function unreadable(file: string, message: string, before: ManifestFile | undefined): ManifestFile {
  const faults = [{ file, line: 0, column: 0, object: '', path: '', message }];
  return { file, digest: '', objects: [], faults, complete: false, ignored: [], pieces: before?.pieces ?? new Map() };
}

function readPiece(document: Document): PieceContent {
  if ('fault' in document) {
    return { objects: [], fault: { ...document.place, path: '', message: document.fault }, ignored: [] };
  }
  if (document.value === null) return { objects: [], fault: undefined, ignored: [] };
  const { items, ignored } = parseObjects(document.value, { allowLoopback: true });
  const places = document.placesOf(items.flatMap(pathsOf)).values();
  const next = (): Place => places.next().value ?? { line: 1, column: 1 };
  return { objects: items.map((item) => foundObject(item, next)), fault: undefined, ignored };
}

/** Where the object is, then where each of its faults is. */
function pathsOf({ path, parsed }: ObjectItem): Path[] {
  return [path, ...('faults' in parsed ? parsed.faults.map((fault) => [...path, ...fault.path]) : [])];
}

function foundObject({ title, id, parsed }: ObjectItem, next: () => Place): FoundObject {
  const place = next();
  if ('ok' in parsed) return { title, id, object: parsed.ok, faults: [], ...place };
  const faults = parsed.faults.map(({ path, message }) => ({ path: pathText(path), message, ...next() }));
  return { title, id, object: undefined, faults, ...place };
}

function moved(found: FoundObject, line: number): FoundObject {
  if (line === 1) return found;
  const faults = found.faults.map((fault) => ({ ...fault, line: fault.line + line - 1 }));
  return { ...found, faults, line: found.line + line - 1 };
}
