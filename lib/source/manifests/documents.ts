/**
 * Owns cutting the text of a file into documents and reading each by itself.
 *
 *   text -> pieces at `---` and `...` -> YAML or JSON -> Document: value and places | one fault
 *
 * The cut is made here and not by the YAML library, for which an open quote swallows the documents behind it: a syntax
 * error costs its own document (rule C2). YAML forbids both markers at the start of a line inside of any scalar, so that
 * the cut is exact.
 */
import { LineCounter } from 'yaml';
import { type Path, printable } from '../objects/fault.js';
import { jsonOffsets, yamlOffset } from './places.js';
import { jsonOf, parseYaml, YamlFault } from './yaml-value.js';

/** Bounds the memory of the node tree, about 100 bytes for a character. JSON is bounded by its file alone. */
export const MAX_YAML_DOCUMENT_CHARACTERS = 4 * 1024 * 1024;
const TOO_LONG = 'expected at most 4 Mi characters in one YAML document, got more: split it at ---, or write JSON';

export interface Place {
  readonly line: number;
  readonly column: number;
}

export interface Piece {
  readonly text: string;
  /** Line in the file of its first line, from 1. */
  readonly line: number;
}

/** Places count from the start of the piece. `placesOf` holds the text and the node tree: do not keep it. */
export type Document =
  | { readonly value: unknown; readonly placesOf: (paths: readonly Path[]) => readonly Place[] }
  | DocumentFault;

interface DocumentFault {
  readonly fault: string;
  readonly place: Place;
}

/** Documents of nothing but space, comments and directives are left out. */
export function splitDocuments(text: string): readonly Piece[] {
  const pieces: Piece[] = [];
  let line = 1;
  let start = 0;
  while (start < text.length) {
    const end = nextBoundary(text, start);
    const piece = text.slice(start, end);
    if (!isBlank(piece)) pieces.push({ text: piece, line });
    for (let at = piece.indexOf('\n'); at !== -1; at = piece.indexOf('\n', at + 1)) line++;
    start = end;
  }
  return pieces;
}

/** Start of the next line that is a marker `---`, or of the line behind a marker `...`. */
function nextBoundary(text: string, from: number): number {
  for (let end = text.indexOf('\n', from); end !== -1; end = text.indexOf('\n', end + 1)) {
    if (isMarker(text, end + 1, '---')) return end + 1;
    if (!isMarker(text, end + 1, '...')) continue;
    const next = text.indexOf('\n', end + 1);
    return next === -1 ? text.length : next + 1;
  }
  return text.length;
}

function isMarker(text: string, at: number, marker: string): boolean {
  return text.startsWith(marker, at) && (at + 3 === text.length || ' \t\r\n'.includes(text[at + 3] ?? ''));
}

/** Space, comments, and directives, which are of no use: all is read as YAML 1.2, core schema. */
function isBlank(piece: string): boolean {
  for (let start = piece.startsWith('---') ? 3 : 0; start < piece.length; ) {
    const newline = piece.indexOf('\n', start);
    const end = newline === -1 ? piece.length : newline;
    const line = piece.slice(start, end).trim();
    const isDirective = line.startsWith('%') && !piece.startsWith('---');
    if (line !== '' && !line.startsWith('#') && !isDirective) return false;
    start = end + 1;
  }
  return true;
}

const TOP: Place = { line: 1, column: 1 };

/** JSON is read much faster than YAML; what is not quite JSON (a comment, a last comma) may still be YAML. */
export function readDocument(text: string): Document {
  const json = /^\s*[[{]/.test(text) ? readJson(text) : undefined;
  if (json !== undefined && 'value' in json) return json;
  const yaml = readYaml(text);
  return 'fault' in yaml && json !== undefined && (json.isPlaced || yaml.fault === TOO_LONG) ? json : yaml;
}

function readYaml(text: string): Document {
  if (text.length > MAX_YAML_DOCUMENT_CHARACTERS) return { fault: TOO_LONG, place: TOP };
  const lines = new LineCounter();
  try {
    const root = parseYaml(text, lines);
    const placesOf = (paths: readonly Path[]) => paths.map((path) => placeOf(lines, yamlOffset(root, path)));
    return { value: jsonOf(root), placesOf };
  } catch (error) {
    if (error instanceof YamlFault) return { fault: error.message, place: placeOf(lines, error.offset) };
    return { fault: `expected YAML: ${printable(String(error))}`, place: TOP };
  }
}

/** `isPlaced`: V8 says a position with most of its errors, not with all. */
type JsonDocument = Exclude<Document, { readonly fault: string }> | (DocumentFault & { readonly isPlaced: boolean });

function readJson(text: string): JsonDocument {
  try {
    const value: unknown = JSON.parse(text);
    const placesOf = (paths: readonly Path[]) => {
      const lines = countLines(text);
      return jsonOffsets(text, paths).map((offset) => placeOf(lines, offset));
    };
    return { value, placesOf };
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    const position = /at position (\d+)/.exec(message)?.[1];
    const place = position === undefined ? TOP : placeOf(countLines(text), Number(position));
    return { fault: `expected JSON: ${printable(message)}`, place, isPlaced: position !== undefined };
  }
}

function countLines(text: string): LineCounter {
  const lines = new LineCounter();
  lines.addNewLine(0);
  for (let at = text.indexOf('\n'); at !== -1; at = text.indexOf('\n', at + 1)) lines.addNewLine(at + 1);
  return lines;
}

function placeOf(lines: LineCounter, offset: number): Place {
  const { line, col } = lines.linePos(offset);
  return { line: Math.max(line, 1), column: Math.max(col, 1) };
}
