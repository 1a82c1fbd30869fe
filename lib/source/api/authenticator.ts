/**
 * Owns the ways to credentials that are more than reading a file: exec plugins and OIDC, both by the library.
 *
 *   user -> authenticatorOf -> ExecAuth (a program prints an ExecCredential) | OpenIDConnectAuth | nothing
 *
 * The modules are imported one by one, and only where a user needs them: together with the rest the library costs 70 MB.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import type { RequestOptions } from 'node:https';
import type { User } from '@kubernetes/client-node';
import type { Access } from './access.js';

export interface Authenticator {
  /** Sets headers, certificate or key. */
  applyAuthentication(user: User, options: RequestOptions): Promise<void>;
  /** Ends what runs. */
  stop?(): void;
}

const PLUGIN_TIMEOUT_MS = 60_000;
const MAX_OUTPUT_BYTES = 1 << 20;

export async function authenticatorOf(access: Access): Promise<Authenticator | undefined> {
  const { user } = access;
  if (user.exec) return execAuthenticator(access);
  if (user.authProvider?.name !== 'oidc') return undefined;
  const { OpenIDConnectAuth } = await import('@kubernetes/client-node/dist/oidc_auth.js');
  return new OpenIDConnectAuth();
}

async function execAuthenticator(access: Access): Promise<Authenticator> {
  const { ExecAuth } = await import('@kubernetes/client-node/dist/exec_auth.js');
  const library = new ExecAuth();
  // What the library starts has no end and no bound of its own.
  let running: ChildProcess | undefined;
  const execFn = (...args: Parameters<typeof startPlugin>) => {
    running = startPlugin(...args);
    return running;
  };
  Object.assign(library, { execFn });
  const { exec, ...others } = access.user;
  const given: readonly unknown[] = Array.isArray(exec.env) ? exec.env : [];
  const env = [...given, { name: 'KUBERNETES_EXEC_INFO', value: execInfo(access) }];
  const user: User = { ...others, exec: { ...exec, args: exec.args ?? [], env } };
  return {
    applyAuthentication: (_user, options) => library.applyAuthentication(user, options),
    stop: () => running?.kill('SIGKILL'),
  };
}

/** The plugin must not wait for a person, and cannot run for ever or flood us. */
function startPlugin(
  command: string,
  args: readonly string[],
  options: { readonly env?: NodeJS.ProcessEnv },
): ChildProcess {
  const child = spawn(command, args, {
    ...options,
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: PLUGIN_TIMEOUT_MS,
    killSignal: 'SIGKILL',
  });
  for (const stream of [child.stdout, child.stderr]) {
    let bytes = 0;
    stream.on('data', (chunk: Buffer | string) => {
      bytes += chunk.length;
      if (bytes > MAX_OUTPUT_BYTES) child.kill('SIGKILL');
    });
  }
  return child;
}

/** What a plugin is told, as client.authentication.k8s.io has it. */
function execInfo({ user, cluster, server }: Access): string {
  const told = {
    server: server.href,
    'tls-server-name': cluster.tlsServerName,
    'insecure-skip-tls-verify': cluster.skipTLSVerify || undefined,
    'certificate-authority-data': cluster.caData,
  };
  return JSON.stringify({
    apiVersion: user.exec?.apiVersion ?? 'client.authentication.k8s.io/v1',
    kind: 'ExecCredential',
    spec: { interactive: false, ...(user.exec?.provideClusterInfo === true ? { cluster: told } : {}) },
  });
}
