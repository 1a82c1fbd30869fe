/** Owns certificates for specs, made by openssl: one authority, a server on loopback, and clients. */
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

export interface KeyPair {
  /** PEM. */
  readonly cert: string;
  readonly key: string;
}

export interface Certificates {
  /** PEM of the authority. */
  readonly ca: string;
  readonly server: KeyPair;
  /** Of user `kproxy`. */
  readonly client: KeyPair;
}

/** A few days: specs do not outlive them. */
const DAYS = '3';
const NEW_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];

let shared: Promise<Certificates> | undefined;

/** The same ones for the whole run: making keys takes time. */
export function certificates(): Promise<Certificates> {
  shared ??= makeCertificates('kproxy-us spec');
  return shared;
}

export async function makeCertificates(authority: string): Promise<Certificates> {
  const dir = await mkdtemp(join(tmpdir(), 'kproxy-us-certificates-'));
  try {
    const at = (name: string) => join(dir, name);
    const own = ['req', '-x509', ...NEW_KEY, '-days', DAYS, '-subj', `/CN=${authority}`];
    await run('openssl', [...own, '-keyout', at('ca.key'), '-out', at('ca.crt')]);
    const server = await issue(
      at,
      'server',
      '/CN=kube-apiserver',
      'subjectAltName=IP:127.0.0.1,DNS:kubernetes.default',
    );
    const client = await issue(at, 'client', '/O=system:nodes/CN=kproxy', 'extendedKeyUsage=clientAuth');
    return { ca: await readFile(at('ca.crt'), 'utf8'), server, client };
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

async function issue(at: (name: string) => string, name: string, subject: string, extension: string): Promise<KeyPair> {
  const [key, request, cert, extensions] = [at(`${name}.key`), at(`${name}.csr`), at(`${name}.crt`), at(`${name}.ext`)];
  await writeFile(extensions, `${extension}\n`);
  await run('openssl', ['req', ...NEW_KEY, '-subj', subject, '-keyout', key, '-out', request]);
  const signer = ['-CA', at('ca.crt'), '-CAkey', at('ca.key'), '-CAcreateserial', '-days', DAYS];
  await run('openssl', ['x509', '-req', '-in', request, ...signer, '-extfile', extensions, '-out', cert]);
  return { cert: await readFile(cert, 'utf8'), key: await readFile(key, 'utf8') };
}
