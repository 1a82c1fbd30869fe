/**
 * Owns which files the paths of `--manifests` mean, and where a change of them can be seen.
 *
 *   paths in the order given -> files; directories -> *.yaml *.yml *.json by name, not hidden, not deeper
 */
import { lstat, readdir, realpath, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { codeOf } from './file-text.js';

/** A directory of more is a mistake (`--manifests /`), and every file costs a look at every change. */
export const MAX_FILES = 10_000;

export interface Listing {
  /** The operator's own paths, absolute. */
  readonly roots: readonly string[];
  /** In the order in which the first of two equal objects wins. */
  readonly files: readonly string[];
  readonly directories: readonly string[];
  /** Files that are symbolic links. */
  readonly links: readonly string[];
  /** Roots that are not there now. */
  readonly missing: readonly string[];
  /** Roots that are there and cannot be read, or not whole: what they held is not known to be gone. */
  readonly unreadable: readonly Unreadable[];
}

export interface Unreadable {
  readonly path: string;
  readonly fault: string;
}

export async function listFiles(paths: readonly string[]): Promise<Listing> {
  const roots = [...new Set(paths.map((path) => resolve(path)))];
  const files = new Set<string>();
  const directories: string[] = [];
  const links: string[] = [];
  const missing: string[] = [];
  const unreadable: Unreadable[] = [];
  for (const root of roots) {
    try {
      const listed = await listRoot(root);
      for (const file of listed.files.slice(0, MAX_FILES)) files.add(file);
      links.push(...listed.links);
      if (listed.isDirectory) directories.push(root);
      if (listed.files.length <= MAX_FILES) continue;
      unreadable.push({ path: root, fault: `expected at most ${MAX_FILES} files, got ${listed.files.length}` });
    } catch (error) {
      const code = codeOf(error);
      if (code === 'ENOENT' || code === 'ENOTDIR') missing.push(root);
      else unreadable.push({ path: root, fault: `expected a file or directory that can be read, got ${code}` });
    }
  }
  return { roots, files: [...files], directories, links, missing, unreadable };
}

interface ListedRoot {
  readonly isDirectory: boolean;
  readonly files: readonly string[];
  readonly links: readonly string[];
}

async function listRoot(root: string): Promise<ListedRoot> {
  if (!(await stat(root)).isDirectory()) {
    const isLink = (await lstat(root)).isSymbolicLink();
    return { isDirectory: false, files: [root], links: isLink ? [root] : [] };
  }
  const entries = (await readdir(root, { withFileTypes: true })).filter(({ name }) => isManifestName(name));
  const links = entries.filter((entry) => entry.isSymbolicLink()).map(({ name }) => join(root, name));
  return { isDirectory: true, files: entries.map(({ name }) => join(root, name)).sort(byCodeUnit), links };
}

/** Hidden files are those of editors and of kubelet (`.web.yaml.swp`, `..data`). */
export function isManifestName(name: string): boolean {
  return /\.(?:ya?ml|json)$/i.test(name) && !name.startsWith('.');
}

/** The same on every machine: no locale has a say in who wins. */
function byCodeUnit(one: string, two: string): number {
  return one < two ? -1 : one > two ? 1 : 0;
}

/** The directories listed, those that the operator's paths stand in, and those that links lead to. */
export async function directoriesToWatch({ roots, directories, links }: Listing): Promise<ReadonlySet<string>> {
  const watched = new Set([...directories, ...roots.map((root) => dirname(root))]);
  for (const link of links) {
    const target = await realpath(link).catch(() => undefined);
    if (target !== undefined) watched.add(dirname(target));
  }
  return watched;
}
