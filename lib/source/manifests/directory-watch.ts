/**
 * Owns the watches on directories. Directories, never files: a file that is replaced takes its watch along, and a ConfigMap
 * swaps the link `..data` beside it.
 *
 *   follow(directories) -> fs.watch each -> onEvent(name) -> debounce
 *
 * Where the system has no watch to give (inotify's limit, network file systems), the slow poll of the source remains.
 */
import { type FSWatcher, watch } from 'node:fs';
import { stat } from 'node:fs/promises';
import { basename } from 'node:path';
import type { Log } from '../../config/log.js';

/** Links of files may lead into any number of directories. */
export const MAX_WATCHES = 256;

interface Watched {
  readonly watcher: FSWatcher;
  /** A directory that was replaced has another one. */
  readonly inode: string;
}

export class DirectoryWatch {
  readonly #watched = new Map<string, Watched>();
  readonly #refused = new Set<string>();
  readonly #options: { readonly onEvent: (name: string | undefined) => void; readonly log: Log };
  #stopped = false;

  /** `onEvent` gets the name in the directory that something happened to; undefined where the system does not say. */
  constructor(options: { readonly onEvent: (name: string | undefined) => void; readonly log: Log }) {
    this.#options = options;
  }

  /** Watches these directories and no other. Resolves with true where a watch is new: what came before it was missed. */
  async follow(directories: Iterable<string>): Promise<boolean> {
    const wanted = [...new Set(directories)].slice(0, MAX_WATCHES);
    for (const [directory, { watcher }] of this.#watched) {
      if (wanted.includes(directory)) continue;
      watcher.close();
      this.#watched.delete(directory);
    }
    let isNew = false;
    for (const directory of wanted) isNew = (await this.#watch(directory)) || isNew;
    return isNew;
  }

  stop(): void {
    this.#stopped = true;
    for (const { watcher } of this.#watched.values()) watcher.close();
    this.#watched.clear();
  }

  async #watch(directory: string): Promise<boolean> {
    const inode = await inodeOf(directory);
    const before = this.#watched.get(directory);
    if (this.#stopped || before?.inode === inode) return false;
    before?.watcher.close();
    this.#watched.delete(directory);
    if (inode === undefined) return false;
    try {
      const watcher = watch(directory, (_event, name) => this.#event(directory, name));
      watcher.on('error', (error) => this.#fail(directory, error));
      this.#watched.set(directory, { watcher, inode });
      this.#refused.delete(directory);
      return true;
    } catch (error) {
      this.#fail(directory, error);
      return false;
    }
  }

  /** A directory that goes says its own name. */
  #event(directory: string, name: string | null): void {
    this.#options.onEvent(name === null || name === basename(directory) ? undefined : name);
  }

  #fail(directory: string, error: unknown): void {
    this.#watched.get(directory)?.watcher.close();
    this.#watched.delete(directory);
    if (this.#refused.has(directory)) return;
    this.#refused.add(directory);
    this.#options.log.warn('cannot watch a directory, its files are only polled', {
      key: directory,
      directory,
      err: error,
    });
  }
}

async function inodeOf(directory: string): Promise<string | undefined> {
  const found = await stat(directory).catch(() => undefined);
  return found?.isDirectory() ? `${found.dev}:${found.ino}` : undefined;
}
