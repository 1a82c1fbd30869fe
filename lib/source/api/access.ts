/**
 * Owns the way to the API server: what the configuration says that counts.
 *
 *   settings -> chooseAccess -> kubeconfig files, service account, address -> Access | faults, all of them (rule C1)
 */
import { join } from 'node:path';
import type { Cluster, User } from '@kubernetes/client-node';
import { printable } from '../objects/fault.js';
import { SourceError } from '../source-error.js';
import { type AccessChoice, type AccessSettings, chooseAccess, NO_ACCESS } from './choose-access.js';
import { readFiles } from './credentials.js';

export interface Access {
  /** Where this was read, in a word or two for the log. */
  readonly origin: string;
  readonly server: URL;
  readonly cluster: Omit<Cluster, 'server'>;
  readonly user: User & { readonly tokenFile?: string };
}

/** Rejects with SourceError BAD_CONFIG. Whether a server answers there is not asked. */
export async function loadAccess(settings: AccessSettings): Promise<Access> {
  const faults: string[] = [];
  const choice = chooseAccess(settings);
  const { master } = settings;
  const access = choice === undefined ? undefined : await read(choice, master, faults);
  if (choice === undefined) faults.push(NO_ACCESS);
  if (access !== undefined) await checkAll(access, faults);
  if (faults.length > 0 || access === undefined) throw new SourceError('BAD_CONFIG', faults.join('; '));
  return access;
}

async function read(choice: AccessChoice, master: string | undefined, faults: string[]): Promise<Access | undefined> {
  if (choice.kind === 'files') {
    // Not in a pod: a parser of YAML is some 8 MB.
    const { loadKubeconfigs } = await import('./kubeconfig.js');
    return loadKubeconfigs(choice.files, choice.isList, master, faults);
  }
  const server = parseServer(master ?? (choice.kind === 'pod' ? choice.server : ''), '--master', faults);
  if (server === undefined) return undefined;
  if (choice.kind === 'master') {
    return { origin: '--master', server, cluster: { name: 'master', skipTLSVerify: false }, user: { name: 'nobody' } };
  }
  const cluster = { name: 'in-cluster', skipTLSVerify: false, caFile: join(choice.dir, 'ca.crt') };
  const user = { name: 'service-account', tokenFile: join(choice.dir, 'token') };
  return { origin: 'service account', server, cluster, user };
}

/** A path is kept: some servers stand behind one. */
export function parseServer(text: string, place: string, faults: string[]): URL | undefined {
  // As kubectl does, a host and port alone.
  const full = text.includes('://') ? text : `https://${text}`;
  const url = URL.canParse(full) ? new URL(full) : undefined;
  if (
    url !== undefined &&
    /^https?:$/.test(url.protocol) &&
    url.search === '' &&
    url.hash === '' &&
    url.username === ''
  ) {
    return url;
  }
  faults.push(`${place}: ${JSON.stringify(text)}: expected an address such as https://192.0.2.1:6443`);
  return undefined;
}

async function checkAll(access: Access, faults: string[]): Promise<void> {
  checkServer(access, faults);
  await readFiles(access).catch((error: unknown) => {
    faults.push(`${access.origin}: ${printable(error instanceof Error ? error.message : String(error))}`);
  });
}

/** Secrets go over plain HTTP to nobody but this host. */
function checkServer({ server, user, origin }: Access, faults: string[]): void {
  if (server.protocol === 'https:' || /^(?:localhost|127\..*|\[::1\])$/.test(server.hostname)) return;
  const { token, tokenFile, exec, authProvider, password } = user;
  if ([token, tokenFile, exec, authProvider, password].every((secret) => secret === undefined || secret === null))
    return;
  faults.push(`${origin}: server ${server.href}: expected https, because credentials would be sent in clear text`);
}
