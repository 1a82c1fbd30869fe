/**
 * Owns which configuration leads to the API server.
 *
 *   --kubeconfig, else a pod's service account, else $KUBECONFIG, else --master alone -> AccessChoice
 *
 * The library's own `loadFromDefault` prefers `~/.kube/config`, even inside of a pod, and a daemon must not take up by chance
 * the rights of whoever's home it finds.
 */
import { accessSync, constants } from 'node:fs';
import { isIPv6 } from 'node:net';
import { delimiter, join } from 'node:path';

export interface AccessSettings {
  /** `--kubeconfig`. */
  readonly kubeconfig: string | undefined;
  /** `--master`: the address alone; it goes over that of a file. */
  readonly master: string | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly serviceAccountDir?: string;
}

export type AccessChoice =
  | { readonly kind: 'files'; readonly files: readonly string[]; readonly isList: boolean }
  | { readonly kind: 'pod'; readonly dir: string; readonly server: string }
  | { readonly kind: 'master' };

const SERVICE_ACCOUNT_DIR = '/var/run/secrets/kubernetes.io/serviceaccount';

/** undefined: nothing says how to reach an API server. */
export function chooseAccess({ kubeconfig, master, env, serviceAccountDir }: AccessSettings): AccessChoice | undefined {
  if (kubeconfig !== undefined) return { kind: 'files', files: [kubeconfig], isList: false };
  const dir = serviceAccountDir ?? SERVICE_ACCOUNT_DIR;
  const host = env['KUBERNETES_SERVICE_HOST'] ?? '';
  const port = env['KUBERNETES_SERVICE_PORT'] ?? '';
  if (host !== '' && port !== '' && canRead(join(dir, 'token'))) {
    return { kind: 'pod', dir, server: `https://${isIPv6(host) ? `[${host}]` : host}:${port}` };
  }
  const files = (env['KUBECONFIG'] ?? '').split(delimiter).filter((file) => file !== '');
  if (files.length > 0) return { kind: 'files', files, isList: true };
  return master === undefined ? undefined : { kind: 'master' };
}

export const NO_ACCESS =
  'expected --manifests with files or directories, or an API server: --kubeconfig, --master, KUBECONFIG in the ' +
  "environment, or a pod's service account";

function canRead(file: string): boolean {
  try {
    accessSync(file, constants.R_OK);
    return true;
  } catch {
    return false;
  }
}
