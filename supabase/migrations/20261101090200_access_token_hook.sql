-- Optional: puts the tier into every access token, which spares the front door the question. Takes effect once it is chosen
-- as the project's custom access token hook: pg-functions://postgres/tabario/add_tier_to_token.

create function tabario.add_tier_to_token(event jsonb) returns jsonb
    language sql stable security definer set search_path = ''
as $$
    select jsonb_set(
        event,
        '{claims,app_metadata}',
        -- Without a right to premium the claim is written all the same: it replaces whatever stood there.
        case jsonb_typeof(event #> '{claims,app_metadata}')
            when 'object' then event #> '{claims,app_metadata}'
            else '{}'::jsonb
        end || jsonb_build_object(
            'tier', found.answer -> 'tier',
            'tier_changed_at', floor(extract(epoch from (found.answer ->> 'changed_at')::timestamptz))
        )
    )
    from (select public.tier_of_user((event ->> 'user_id')::uuid) as answer) as found;
$$;

comment on function tabario.add_tier_to_token is
    'Sets app_metadata.tier and app_metadata.tier_changed_at (Unix time in seconds, or null) in a token to be issued.';

revoke execute on function tabario.add_tier_to_token from public;
grant usage on schema tabario to supabase_auth_admin;
grant execute on function tabario.add_tier_to_token to supabase_auth_admin;
