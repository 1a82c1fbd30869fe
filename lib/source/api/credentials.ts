/**
 * Owns who we are to the API server, and whom we trust: read anew as files and plugins renew it.
 *
 *   Access -> files, exec plugin, OIDC -> Credentials (headers, TLS) -> ApiClient
 *
 * Tokens of a service account change every hour or so, client certificates every few months; client-go, too, reads a token
 * file again after a minute.
 */
import { createHash, X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { AgentOptions, RequestOptions } from 'node:https';
import { createSecureContext } from 'node:tls';
import type { Log } from '../../config/log.js';
import type { Access } from './access.js';
import { ApiError } from './api-error.js';
import { type Authenticator, authenticatorOf } from './authenticator.js';
import type { Timers } from './timers.js';

export interface Credentials {
  readonly headers: Readonly<Record<string, string>>;
  readonly tls: Readonly<Pick<AgentOptions, 'ca' | 'cert' | 'key' | 'servername' | 'rejectUnauthorized'>>;
  /** Equal where `tls` is: connections may be shared. */
  readonly tlsKey: string;
}

const RENEW_AFTER_MS = 60_000;

export class CredentialSource {
  readonly #access: Access;
  readonly #timers: Timers;
  readonly #log: Log;
  #authenticator: Authenticator | undefined;
  #last: Credentials | undefined;
  #readAtMs = Number.NEGATIVE_INFINITY;
  #reading: Promise<Credentials> | undefined;

  constructor(access: Access, timers: Timers, log: Log) {
    this.#access = access;
    this.#timers = timers;
    this.#log = log;
  }

  /**
   * At most a minute old. Where they cannot be renewed (a file is being replaced, a plugin fails), the last ones stay.
   * Rejects with ApiError CREDENTIALS where there never were any.
   */
  async current(): Promise<Credentials> {
    if (this.#last !== undefined && this.#timers.nowMs() - this.#readAtMs < RENEW_AFTER_MS) return this.#last;
    this.#reading ??= this.#renew().finally(() => {
      this.#reading = undefined;
    });
    return this.#reading;
  }

  /** The server does not take them: asked for again before the next request. */
  invalidate(): void {
    this.#readAtMs = Number.NEGATIVE_INFINITY;
    this.#authenticator = undefined;
  }

  /** Ends a plugin that still runs. */
  stop(): void {
    this.#authenticator?.stop?.();
  }

  async #renew(): Promise<Credentials> {
    try {
      this.#last = await this.#read();
    } catch (cause) {
      const error = new ApiError('CREDENTIALS', 'cannot read the credentials for the API server', { cause });
      if (this.#last === undefined) throw error;
      this.#log.warn('cannot renew the credentials for the API server, the last ones stay', { err: error });
    }
    this.#readAtMs = this.#timers.nowMs();
    return this.#last;
  }

  async #read(): Promise<Credentials> {
    const { cluster, user } = this.#access;
    const { ca, cert, key, token } = await readFiles(this.#access);
    const options: RequestOptions & { headers: Record<string, string> } = { headers: {} };
    if (token) options.headers['Authorization'] = `Bearer ${token}`;
    else if (user.username) options.headers['Authorization'] = basic(user.username, user.password ?? '');
    if (user.impersonateUser) options.headers['Impersonate-User'] = user.impersonateUser;
    this.#authenticator ??= await authenticatorOf(this.#access);
    await this.#authenticator?.applyAuthentication(user, options);
    const tls: Credentials['tls'] = defined({
      ca,
      cert: options.cert ?? cert,
      key: options.key ?? key,
      servername: cluster.tlsServerName,
      rejectUnauthorized: cluster.skipTLSVerify ? false : undefined,
    });
    createSecureContext({ ca: tls.ca, cert: tls.cert, key: tls.key });
    return { headers: options.headers, tls, tlsKey: keyOf(tls) };
  }
}

interface Files {
  readonly ca: Buffer | undefined;
  readonly cert: Buffer | undefined;
  readonly key: Buffer | undefined;
  readonly token: string | undefined;
}

/** What the configuration names: rejects where a file cannot be read, or is not what it should be. */
export async function readFiles({ cluster, user }: Access): Promise<Files> {
  const ca = await fileOrData(cluster.caFile, cluster.caData);
  const cert = await fileOrData(user.certFile, user.certData);
  const key = await fileOrData(user.keyFile, user.keyData);
  const token = user.tokenFile === undefined ? user.token : (await readFile(user.tokenFile, 'utf8')).trim();
  // A secure context takes any text for authorities, and then trusts nobody.
  if (ca !== undefined) new X509Certificate(ca);
  createSecureContext({ ca, cert, key });
  return { ca, cert, key, token };
}

async function fileOrData(file: string | undefined, data: string | undefined): Promise<Buffer | undefined> {
  if (file) return readFile(file);
  return data ? Buffer.from(data, 'base64') : undefined;
}

function basic(username: string, password: string): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
}

/** Without the fields that are undefined. */
function defined<T extends object>(all: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]: Exclude<T[K], undefined>;
  };
}

/** A digest: a key of its own must not be one more place where a private key stands. */
function keyOf(tls: Credentials['tls']): string {
  const hash = createHash('sha256');
  for (const value of [tls.ca, tls.cert, tls.key, tls.servername, tls.rejectUnauthorized]) {
    hash.update(String(value)).update('\0');
  }
  return hash.digest('base64');
}
