// oidc-provider with DPoP and its own sign-in pages for development, at http://127.0.0.1:$PORT.
import { createHash } from 'node:crypto';
import Provider from 'oidc-provider';

const port = Number(process.env.PORT);
const secret = process.env.CLIENT_SECRET;
const app = (client_id) => ({
  client_id,
  application_type: 'native',
  token_endpoint_auth_method: 'none',
  grant_types: ['authorization_code', 'refresh_token'],
  response_types: ['code'],
  redirect_uris: ['http://127.0.0.1/callback'],
  dpop_bound_access_tokens: true,
});

const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [
    {
      client_id: 'machine',
      client_secret: secret,
      grant_types: ['client_credentials'],
      response_types: [],
      redirect_uris: [],
      dpop_bound_access_tokens: true,
    },
    app('app'),
    app('other'),
  ],
  cookies: { keys: [createHash('sha256').update(secret).digest('hex')] },
  features: {
    clientCredentials: { enabled: true },
    dPoP: process.env.NONCES ? { enabled: true, nonceSecret: createHash('sha256').update(secret).digest(), requireNonce: () => true } : { enabled: true },
    introspection: { enabled: true },
    revocation: { enabled: true },
    pushedAuthorizationRequests: { enabled: true },
  },
});

provider.listen(port, '127.0.0.1');
