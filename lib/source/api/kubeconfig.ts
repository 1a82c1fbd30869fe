/**
 * Owns kubeconfig files: one of them, or a list merged as kubectl merges (the first that names something wins).
 *
 *   files -> YAML -> the library's newClusters, newUsers, newContexts -> current context -> Access | faults
 *
 * The library's KubeConfig class does as much and more, and takes all 1,500 generated modules along: 70 MB and half a second.
 * docs/dependencies.md has the figures.
 */
import { readFile } from 'node:fs/promises';
import { dirname, isAbsolute, join } from 'node:path';
import type { Cluster, Context, User } from '@kubernetes/client-node';
import { newClusters, newContexts, newUsers } from '@kubernetes/client-node/dist/config_types.js';
import { isAlias, LineCounter, parseDocument, visit } from 'yaml';
import { printable } from '../objects/fault.js';
import { field, items } from '../objects/raw.js';
import { type Access, parseServer } from './access.js';

type ConfigUser = User & { readonly tokenFile?: string };

interface Config {
  readonly file: string;
  readonly currentContext: string;
  readonly clusters: readonly Cluster[];
  readonly users: readonly ConfigUser[];
  readonly contexts: readonly Context[];
}

const MAX_FILE_BYTES = 4 << 20;

/** `isList`: as in $KUBECONFIG, where files that do not exist are passed over unless none does. */
export async function loadKubeconfigs(
  files: readonly string[],
  isList: boolean,
  master: string | undefined,
  faults: string[],
): Promise<Access | undefined> {
  const configs: Config[] = [];
  const missing: string[] = [];
  const place = isList ? 'KUBECONFIG' : '--kubeconfig';
  for (const file of files) {
    const text = await readText(file, place, missing, faults);
    const config = text === undefined ? undefined : parseConfig(file, text, faults);
    if (config !== undefined) configs.push(config);
  }
  if (!isList || missing.length === files.length) {
    faults.push(...missing.map((file) => `${place}: ${printable(file)}: expected a file, got nothing`));
  }
  return faults.length > 0 ? undefined : pick(configs, master, faults);
}

async function readText(file: string, place: string, missing: string[], faults: string[]): Promise<string | undefined> {
  try {
    const text = await readFile(file, 'utf8');
    if (text.length <= MAX_FILE_BYTES) return text;
    faults.push(`${place}: ${printable(file)}: expected at most 4 MiB`);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') missing.push(file);
    else faults.push(`${place}: ${printable(file)}: cannot be read: ${printable(message)}`);
  }
  return undefined;
}

function parseConfig(file: string, text: string, faults: string[]): Config | undefined {
  const lineCounter = new LineCounter();
  const document = parseDocument(text, { lineCounter, prettyErrors: false });
  for (const { message, pos } of document.errors.slice(0, 20)) {
    const { line, col } = lineCounter.linePos(pos[0]);
    faults.push(`${printable(file)}:${line}:${col}: ${printable(message)}`);
  }
  let hasAlias = false;
  visit(document, (_key, node) => {
    if (isAlias(node)) hasAlias = true;
  });
  if (hasAlias) faults.push(`${printable(file)}: expected no YAML aliases`);
  if (document.errors.length > 0 || hasAlias) return undefined;
  const json: unknown = document.toJS();
  const kind = field(json, 'kind');
  if (typeof json !== 'object' || json === null || (kind !== undefined && kind !== 'Config')) {
    faults.push(`${printable(file)}: expected a kubeconfig (kind: Config)`);
    return undefined;
  }
  return read(file, json, faults);
}

function read(file: string, json: object, faults: string[]): Config {
  const entries = <T>(name: string, of: (all: unknown) => T[]): T[] => {
    try {
      return of(field(json, name));
    } catch (error) {
      faults.push(`${printable(file)}: ${printable(error instanceof Error ? error.message : String(error))}`);
      return [];
    }
  };
  const currentContext = field(json, 'current-context');
  const at = (path: string) => (isAbsolute(path) ? path : join(dirname(file), path));
  return {
    file,
    currentContext: typeof currentContext === 'string' ? currentContext : '',
    clusters: entries('clusters', newClusters).map((one) => (one.caFile ? { ...one, caFile: at(one.caFile) } : one)),
    users: entries('users', (all) => newUsers(all).map((user, index) => withFiles(user, items(all)[index], at))),
    contexts: entries('contexts', newContexts),
  };
}

/** Paths count from the file's own folder. The library does not know `tokenFile`. */
function withFiles(user: User, json: unknown, at: (path: string) => string): ConfigUser {
  const tokenFile = field(json, 'user', 'tokenFile');
  const command = field(json, 'user', 'exec', 'command');
  const ofFolder = typeof command === 'string' && command.includes('/') ? at(command) : command;
  return {
    ...user,
    ...(user.certFile ? { certFile: at(user.certFile) } : {}),
    ...(user.keyFile ? { keyFile: at(user.keyFile) } : {}),
    ...(typeof tokenFile === 'string' ? { tokenFile: at(tokenFile) } : {}),
    ...(user.exec ? { exec: { ...user.exec, command: ofFolder } } : {}),
  };
}

function pick(configs: readonly Config[], master: string | undefined, faults: string[]): Access | undefined {
  const origin = configs.map(({ file }) => printable(file)).join(', ');
  const fail = (what: string) => {
    faults.push(`${origin}: ${what}`);
    return undefined;
  };
  const name = configs.find(({ currentContext }) => currentContext !== '')?.currentContext;
  if (name === undefined) return fail('current-context: expected the name of a context, got nothing');
  const context = named(
    configs.flatMap((one) => one.contexts),
    name,
  );
  if (context === undefined) return fail(`current-context: ${JSON.stringify(name)}: expected one of contexts`);
  const cluster = named(
    configs.flatMap((one) => one.clusters),
    context.cluster,
  );
  if (cluster === undefined)
    return fail(`contexts: ${JSON.stringify(name)}: there is no cluster ${quoted(context.cluster)}`);
  const user = context.user
    ? named(
        configs.flatMap((one) => one.users),
        context.user,
      )
    : { name: '' };
  if (user === undefined) return fail(`contexts: ${JSON.stringify(name)}: there is no user ${quoted(context.user)}`);
  if (cluster.proxyUrl) fail('proxy-url: expected none, this program reaches the API server directly');
  const provider: unknown = user.authProvider?.name;
  if (typeof provider === 'string' && provider !== 'oidc') {
    fail(
      `users: ${quoted(user.name)}: auth-provider ${quoted(provider)}: Kubernetes removed it in 1.26; expected exec`,
    );
  }
  if (user.exec?.interactiveMode === 'Always') {
    fail(`users: ${quoted(user.name)}: exec: interactiveMode Always: expected another one, there is no terminal here`);
  }
  const server = parseServer(master ?? cluster.server, master === undefined ? `${origin}: server` : '--master', faults);
  return server === undefined || faults.length > 0 ? undefined : { origin, server, cluster, user };
}

/** The first one of a name counts. */
function named<T extends { readonly name: string }>(all: readonly T[], name: string): T | undefined {
  return all.find((one) => one.name === name);
}

function quoted(text: unknown): string {
  return JSON.stringify(text) ?? 'nothing';
}
