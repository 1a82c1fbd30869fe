/**
 * Owns reading a file of the operator with bounds: a regular file, of a sane size, in UTF-8.
 *
 *   path -> open, look, read, decode -> text and digest | gone | why not
 */
import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, lstat, open } from 'node:fs/promises';
import { printable } from '../objects/fault.js';

export const MAX_FILE_BYTES = 32 * 1024 * 1024;

export type FileText =
  | { readonly kind: 'bytes'; readonly bytes: Buffer; readonly digest: string }
  /** There is no such file (any more). */
  | { readonly kind: 'gone' }
  /** Not a file at all; in a directory that is nothing to speak of. */
  | { readonly kind: 'directory' }
  | { readonly kind: 'unreadable'; readonly fault: string };

export async function readBytes(file: string): Promise<FileText> {
  let handle: FileHandle | undefined;
  try {
    // Without O_NONBLOCK, opening a FIFO waits for a writer and holds a thread of Node's pool.
    handle = await open(file, constants.O_RDONLY | constants.O_NONBLOCK);
    const stat = await handle.stat();
    if (stat.isDirectory()) return { kind: 'directory' };
    if (!stat.isFile()) return { kind: 'unreadable', fault: 'expected a regular file, got something else' };
    if (stat.size > MAX_FILE_BYTES) return tooLarge(stat.size);
    const bytes = await handle.readFile();
    // It may have grown since, and files of /proc say 0.
    if (bytes.length > MAX_FILE_BYTES) return tooLarge(bytes.length);
    return { kind: 'bytes', bytes, digest: digestOf(bytes) };
  } catch (error) {
    return await whyNot(file, error);
  } finally {
    await handle?.close();
  }
}

/** A file that vanished is gone; a link that leads nowhere is somebody's mistake. */
async function whyNot(file: string, error: unknown): Promise<FileText> {
  const code = codeOf(error);
  if (code === 'ENOENT' || code === 'ENOTDIR') {
    const link = await lstat(file).catch(() => undefined);
    if (link === undefined) return { kind: 'gone' };
  }
  return { kind: 'unreadable', fault: `expected a file that can be read, got ${codeOf(error)}` };
}

function tooLarge(size: number): FileText {
  return { kind: 'unreadable', fault: `expected at most ${MAX_FILE_BYTES / 1024 / 1024} MiB, got ${size} bytes` };
}

export function digestOf(data: Buffer | string): string {
  return createHash('sha256').update(data).digest('base64');
}

export function codeOf(error: unknown): string {
  if (error instanceof Error && 'code' in error && typeof error.code === 'string') return error.code;
  return printable(error instanceof Error ? error.message : String(error));
}

/** undefined where the bytes are no text in UTF-8 (UTF-16 is full of NUL). A byte order mark is left out. */
export function decodeUtf8(bytes: Buffer): string | undefined {
  if (bytes.includes(0)) return undefined;
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return undefined;
  }
}
