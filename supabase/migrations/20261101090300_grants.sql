-- What `tabario doctor` asks: whether anybody but the service may look up tiers or change them. Grants made by hand, or
-- by a tool that resets a schema to its defaults, would open both without any error to be seen.

create function public.tabario_open_grants() returns jsonb
    language sql stable security definer set search_path = ''
as $$
    select coalesce(jsonb_agg(distinct found.grant_name), '[]')
    from (
        select role.name || ' may look up tiers' as grant_name
        from (values ('anon'), ('authenticated')) as role (name)
        where has_function_privilege(role.name, 'public.tier_of_user(uuid)', 'execute')
        union all
        select role.name || ' may write subscriptions'
        from (values ('anon'), ('authenticated')) as role (name)
        where has_any_column_privilege(role.name, 'public.subscriptions', 'insert, update')
            or has_table_privilege(role.name, 'public.subscriptions', 'delete')
    ) as found;
$$;

comment on function public.tabario_open_grants is
    'Sentences about rights that users have and must not have; empty when all is well.';

revoke execute on function public.tabario_open_grants from public, anon, authenticated;
grant execute on function public.tabario_open_grants to service_role;
